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

    /// What is connected.
    enum Subject {
        /// A channel for each address.
        case new(ChannelConfiguration, HandlerFactory)
        /// This one, which has an address only.
        case made(Channel)
    }

    let loop: EventLoop
    private let target: Target
    private let means: Subject
    private let timeout: Duration
    private let resolver: ResolverPool
    // Any thread.
    private let isCancelled = Atomic<Bool>(false)

    /// Among those of its loop; `nil` when it is not one of them.
    fileprivate var place: Int?
    /// Who waits; `nil` once it was told.
    private var answer: ((Outcome) -> Void)?
    private var limit: CallbackTimer?
    /// What it waits for, at most one of these.
    private var lookUp: ResolverPool.Request?
    private var channel: Channel?
    private var remaining: ArraySlice<SocketAddress> = []
    private var tried: SocketAddress?

    init(
        to target: Target, on loop: EventLoop, _ means: Subject, within timeout: Duration,
        resolver: ResolverPool = .shared
    ) {
        self.target = target
        self.loop = loop
        self.means = means
        self.timeout = timeout
        self.resolver = resolver
    }

    // MARK: Any thread

    /// Begins, and has `answer` told once, on the loop, or on this thread when the loop has ended.
    func start(_ answer: @escaping (Outcome) -> Void) {
        self.answer = answer
        if loop.isCurrent { run(on: loop) } else { loop.post(self) }
    }

    /// Begins, and waits for the end; ends when the task is cancelled.
    func outcome() async -> Outcome {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in start { continuation.resume(returning: $0) } }
        } onCancel: {
            cancel()
        }
    }

    /// Either the attempt sees the flag when it gets to the loop, or this gets there behind it.
    private func cancel() {
        isCancelled.store(true, ordering: .sequentiallyConsistent)
        loop.post(
            ClosureWork { if $0.own.attempts.contains(self) { self.fail(TransportError(.cancelled, call: .connect)) } })
    }

    /// It never got to the loop, so nobody else has it.
    override func reject(_ why: TransportError.Code) {
        answer?(.failure(TransportError(why, call: .connect, subject: subject)))
        answer = nil
    }

    override var mustArrive: Bool { false }

    // MARK: Beginning and end

    override func run(on loop: EventLoop) {
        loop.own.attempts.insert(self)
        if isCancelled.load(ordering: .sequentiallyConsistent) {
            fail(TransportError(.cancelled, call: .connect))
        } else if loop.own.phase != .running {
            endWithLoop()
        } else if case .made(let channel) = means {
            if let error = channel.beConnected() { fail(error) } else { begin(channel) }
        } else {
            begin(nil)
        }
    }

    /// The loop begins to shut down. It has no attempts any more when it ends: nobody else ends one.
    func endWithLoop() { fail(TransportError(.loopShutDown, call: .connect)) }

    private func begin(_ channel: Channel?) {
        self.channel = channel
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
        let opening = channel?.own.ending?.opening
        let errno = opening?.unix != nil ? EAGAIN : opening?.preparing != nil ? 0 : ETIMEDOUT
        fail(TransportError(.timedOut, call: call, errno: errno))
    }

    private func fail(_ error: TransportError) {
        let error = error.about(subject)
        // It calls back, and finds that nobody waits.
        let (channel, answer) = (self.channel, finish())
        channel?.giveUpConnecting(error)
        answer?(.failure(error))
    }

    /// Whoever waits is to be told.
    private func finish() -> ((Outcome) -> Void)? {
        loop.own.attempts.remove(self)
        limit?.disarm(on: loop)
        limit = nil
        if let lookUp { resolver.cancel(lookUp) }
        lookUp = nil
        channel = nil
        return answer.take()
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
        guard self.answer != nil else { return }
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
        switch means {
        case .made(let channel):
            self.channel = channel
            channel.ensureOpening().whenPrepared { self.prepared(channel, $0, address) }
        case .new(let configuration, let handlers):
            let channel = Channel(eventLoop: loop, configuration: configuration)
            try loop.register(channel)
            self.channel = channel
            channel.prepare(handlers) { self.prepared(channel, $0, address) }
        }
    }

    private func prepared(_ channel: Channel, _ how: ChannelOpening.Preparation, _ address: SocketAddress) {
        guard self.channel === channel else { return }
        switch how {
        case .ready: channel.connectNow(to: address) { self.connected(channel, $0) }
        case .closed: connected(channel, TransportError(.closed, call: .connect))
        case .failed(let error): connected(channel, TransportError(wrapping: error, call: .connect))
        }
    }

    private func connected(_ channel: Channel, _ error: TransportError?) {
        guard self.channel === channel else {
            channel.closeNow(.immediate)
            return
        }
        self.channel = nil
        if let error { tryNext(after: error) } else { finish()?(.success(channel)) }
    }
}

/// The attempts of a loop that are not over, in no order but one that depends on nothing else than what happened. The loop's thread
/// only.
struct ConnectAttempts {
    private var all: [ConnectAttempt] = []

    var count: Int { all.count }

    func contains(_ attempt: ConnectAttempt) -> Bool { attempt.place != nil }

    mutating func insert(_ attempt: ConnectAttempt) {
        attempt.place = all.count
        all.append(attempt)
    }

    mutating func remove(_ attempt: ConnectAttempt) {
        guard let place = attempt.place else { return }
        attempt.place = nil
        let last = all.removeLast()
        guard last !== attempt else { return }
        last.place = place
        all[place] = last
    }

    /// A snapshot: ending one changes the set.
    var snapshot: [ConnectAttempt] { all }
}
