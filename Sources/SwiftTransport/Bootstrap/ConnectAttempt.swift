internal import CTransport
internal import Glibc
internal import Synchronization

/// One connect: looks a name up, tries address after address, and ends once, whatever comes first: a connection, the last
/// failure, the time limit, a cancelled task, or the shutdown of its loop. What is not marked otherwise belongs to the loop.
final class ConnectAttempt: LoopWork, @unchecked Sendable {
    typealias Outcome = Result<Channel, TransportError>

    /// Where to.
    enum Target {
        /// These, one after the other.
        case addresses([SocketAddress])
        /// The addresses of this host, with this port.
        case name(String, UInt16)
    }

    let loop: EventLoop
    private let target: Target
    private let configuration: ChannelConfiguration
    private let timeout: Duration
    private let resolver: ResolverPool
    private let makeHandlers: @Sendable (Channel) throws -> [any ChannelHandler]
    // Any thread.
    private let isCancelled = Atomic<Bool>(false)

    /// Who waits; `nil` once it was told.
    private var continuation: UnsafeContinuation<Outcome, Never>?
    private var limit: CallbackTimer?
    /// What it waits for, at most one of these.
    private var lookUp: ResolverPool.Request?
    private var channel: Channel?
    private var unix: UnixConnect?
    private var remaining: ArraySlice<SocketAddress> = []
    private var tried: SocketAddress?

    init(
        to target: Target, on loop: EventLoop, _ configuration: ChannelConfiguration, within timeout: Duration,
        resolver: ResolverPool = .shared, _ makeHandlers: @escaping @Sendable (Channel) throws -> [any ChannelHandler]
    ) {
        self.target = target
        self.loop = loop
        self.configuration = configuration
        self.timeout = timeout
        self.resolver = resolver
        self.makeHandlers = makeHandlers
    }

    // MARK: Any thread

    func start(_ continuation: UnsafeContinuation<Outcome, Never>) {
        self.continuation = continuation
        loop.post(self)
    }

    /// Either the attempt sees the flag when it gets to the loop, or this gets there behind it.
    func cancel() {
        isCancelled.store(true, ordering: .sequentiallyConsistent)
        loop.post(
            ClosureWork { if $0.own.attempts.contains(self) { self.fail(TransportError(.cancelled, call: .connect)) } })
    }

    /// It never got to the loop, so nobody else has it.
    override func reject(_ why: TransportError.Code) {
        continuation?.resume(returning: .failure(TransportError(why, call: .connect, subject: subject)))
        continuation = nil
    }

    override var mustArrive: Bool { false }

    // MARK: Beginning and end

    override func run(on loop: EventLoop) {
        loop.own.attempts.insert(self)
        if isCancelled.load(ordering: .sequentiallyConsistent) {
            fail(TransportError(.cancelled, call: .connect))
        } else if loop.own.phase != .running {
            endWithLoop()
        } else {
            begin()
        }
    }

    /// The loop begins to shut down. It has no attempts any more when it ends: nobody else ends one.
    func endWithLoop() { fail(TransportError(.loopShutDown, call: .connect)) }

    private func begin() {
        let limit = CallbackTimer { [unowned self] in self.timedOut() }
        self.limit = limit
        do throws(TransportError) {
            try limit.arm(on: loop, at: loop.turnTime.advanced(by: timeout))
        } catch {
            return fail(error.of(.connect))
        }
        switch target {
        case .addresses(let addresses): tryAll(addresses)
        case .name(let host, let port):
            lookUp = resolver.lookUp(host: host, port: port) { answer in
                self.loop.post(ClosureWork { _ in self.resolved(answer) })
            }
        }
    }

    private func timedOut() {
        // What it waited for says more than that it waited.
        let call = lookUp == nil ? SystemCall.connect : .getaddrinfo
        fail(TransportError(.timedOut, call: call, errno: unix == nil ? ETIMEDOUT : EAGAIN))
    }

    private func fail(_ error: TransportError) { finish(.failure(error.about(subject))) }

    private func finish(_ outcome: Outcome) {
        guard let continuation else { return }
        self.continuation = nil
        loop.own.attempts.remove(self)
        limit?.disarm(on: loop)
        limit = nil
        if let lookUp { resolver.cancel(lookUp) }
        lookUp = nil
        unix?.giveUp()
        unix = nil
        channel?.closeNow(.immediate)
        channel = nil
        continuation.resume(returning: outcome)
    }

    /// What errors say it was about.
    private var subject: String {
        switch (target, tried) {
        case (.name(let host, _), let address?): "\(host) at \(address)"
        case (.name(let host, let port), nil): SocketAddress.name(of: host, port)
        case (.addresses(let addresses), let tried): (tried ?? addresses.first)?.description ?? "no address"
        }
    }

    // MARK: From address to address

    private func resolved(_ answer: ResolverPool.Answer) {
        guard continuation != nil else { return }
        lookUp = nil
        switch answer {
        case .success(let addresses): tryAll(addresses)
        case .failure(let error): fail(error)
        }
    }

    private func tryAll(_ addresses: [SocketAddress]) {
        remaining = addresses[...]
        tryNext(after: TransportError(.invalidAddress, call: .getaddrinfo, errno: EAI_NONAME))
    }

    private func tryNext(after failure: TransportError) {
        var failure = failure.about(subject)
        while let address = remaining.popFirst() {
            tried = address
            do throws(TransportError) {
                try connect(to: address)
                return
            } catch {
                failure = error.about(subject)
            }
        }
        fail(failure)
    }

    private func connect(to address: SocketAddress) throws(TransportError) {
        var failure = ct_failure()
        let descriptor = ct_socket_open(address.family, &failure)
        guard descriptor >= 0 else { throw TransportError(failure) }
        do throws(TransportError) {
            try configuration.apply(to: descriptor, isUnix: address.isUnix)
        } catch {
            closeSocket(descriptor)
            throw error
        }
        if address.isUnix {
            let unix = UnixConnect(descriptor, to: address, on: loop) { [unowned self] in self.connected($0) }
            self.unix = unix
            unix.begin()
        } else {
            try connect(descriptor, to: address)
        }
    }

    // MARK: TCP, by the engine

    private func connect(_ descriptor: Int32, to address: SocketAddress) throws(TransportError) {
        let channel = try open(descriptor)
        self.channel = channel
        channel.ensureEnding().connected = { self.connected(channel, $0) }
        guard let slot = channel.slot else { return }
        let result = address.withSockaddr { ct_connect(loop.core, slot, $0, $1) }
        guard result < 0 else { return }
        self.channel = nil
        channel.closeNow(.immediate)
        throw TransportError(call: .connect, errno: -result)
    }

    private func open(_ descriptor: Int32) throws(TransportError) -> Channel {
        let channel = Channel(eventLoop: loop, configuration: configuration)
        do throws(TransportError) {
            try channel.open(descriptor, listener: false)
        } catch {
            throw error.of(.connect)
        }
        do {
            channel.pipeline.append(try makeHandlers(channel))
        } catch {
            channel.closeNow(.reset)
            throw TransportError(wrapping: error, call: .connect)
        }
        guard !channel.own.lifecycle.isOver else { throw TransportError(.closed, call: .connect) }
        return channel
    }

    private func connected(_ channel: Channel, _ result: Int32) {
        channel.own.ending?.connected = nil
        guard self.channel === channel else {
            channel.closeNow(.immediate)
            return
        }
        self.channel = nil
        if channel.own.lifecycle.isOver {
            tryNext(after: TransportError(.closed, call: .connect))
        } else if result == 0 {
            succeed(channel)
        } else {
            channel.closeNow(.immediate)
            tryNext(after: TransportError(call: .connect, errno: -result))
        }
    }

    private func succeed(_ channel: Channel) {
        channel.becomeActive()
        finish(.success(channel))
    }

    // MARK: Unix domain sockets

    private func connected(_ outcome: UnixConnect.Outcome) {
        unix = nil
        do throws(TransportError) {
            succeed(try open(outcome.get()))
        } catch {
            tryNext(after: error)
        }
    }
}

/// The attempts of a loop that are not over. The loop's thread only.
struct ConnectAttempts {
    private var all: [ObjectIdentifier: ConnectAttempt] = [:]

    var count: Int { all.count }

    func contains(_ attempt: ConnectAttempt) -> Bool { all[ObjectIdentifier(attempt)] != nil }
    mutating func insert(_ attempt: ConnectAttempt) { all[ObjectIdentifier(attempt)] = attempt }
    mutating func remove(_ attempt: ConnectAttempt) { all[ObjectIdentifier(attempt)] = nil }

    /// A snapshot: ending one changes the set.
    var snapshot: [ConnectAttempt] { Array(all.values) }
}
