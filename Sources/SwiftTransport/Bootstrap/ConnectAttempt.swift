internal import CTransport
internal import Glibc

/// One connect: resolves, tries address after address, and ends once, whatever comes first: a connection, the last
/// failure, the time limit or a cancelled task. The loop's thread only.
final class ConnectAttempt: @unchecked Sendable {
    /// How long to wait for room in a full backlog of a Unix listener.
    private static let pauseWithFullBacklog: Duration = .milliseconds(5)

    let loop: EventLoop
    private let configuration: ChannelConfiguration
    private let timeout: Duration
    private let makeHandlers: @Sendable () -> [any ChannelHandler]

    private var continuation: UnsafeContinuation<Result<Channel, TransportError>, Never>?
    private var early: Result<Channel, TransportError>?
    private var isOver = false
    private var remaining: ArraySlice<SocketAddress> = []
    private var tried: SocketAddress?
    private var channel: Channel?
    private var timer: CallbackTimer?

    init(
        loop: EventLoop, configuration: ChannelConfiguration, timeout: Duration,
        _ makeHandlers: @escaping @Sendable () -> [any ChannelHandler]
    ) {
        self.loop = loop
        self.configuration = configuration
        self.timeout = timeout
        self.makeHandlers = makeHandlers
    }

    func begin(_ continuation: UnsafeContinuation<Result<Channel, TransportError>, Never>) {
        // The task may have been cancelled before it got here.
        if let early {
            continuation.resume(returning: early)
            return
        }
        self.continuation = continuation
        let timer = CallbackTimer { [unowned self] in
            self.finish(.failure(TransportError(.timedOut, call: .connect, errno: ETIMEDOUT)))
        }
        self.timer = timer
        timer.arm(on: loop, at: loop.now.advanced(by: timeout))
    }

    func start(host: String, port: UInt16) {
        guard !isOver else { return }
        Resolver.lookUp(host: host, port: port) { outcome in
            self.loop.post(ResolvedWork(self, outcome))
        }
    }

    fileprivate func resolved(_ outcome: Result<[SocketAddress], TransportError>) {
        switch outcome {
        case .success(let addresses): start(addresses)
        case .failure(let error): finish(.failure(error))
        }
    }

    func start(_ addresses: [SocketAddress]) {
        remaining = addresses[...]
        tryNext(TransportError(.invalidAddress, call: .getaddrinfo, errno: EAI_NONAME))
    }

    private func tryNext(_ failure: TransportError) {
        guard !isOver else { return }
        // Not ECANCELED, which is what a connect says that the loop's end cut off.
        guard loop.phase == .running else {
            finish(.failure(TransportError(.loopShutDown, call: .connect)))
            return
        }
        guard let address = remaining.popFirst() else {
            finish(.failure(failure))
            return
        }
        do throws(TransportError) {
            try tryConnect(address)
        } catch {
            tryNext(error.about(address.description))
        }
    }

    private func tryConnect(_ address: SocketAddress) throws(TransportError) {
        tried = address
        var failure = ct_failure()
        let descriptor = ct_socket_open(address.family, &failure)
        guard descriptor >= 0 else { throw TransportError(failure) }
        let channel = Channel(eventLoop: loop, configuration: configuration)
        do throws(TransportError) {
            try configuration.apply(to: descriptor, isUnix: address.isUnix)
        } catch {
            closeDescriptor(descriptor)
            throw error
        }
        try channel.open(descriptor, listener: false)
        self.channel = channel
        channel.ensureEnding().connected = { result in self.connected(channel, result) }
        guard let slot = channel.slot else { return }
        let result = address.withSockaddr { ct_connect(loop.core, slot, $0, $1) }
        if result < 0 { connected(channel, result) }
    }

    private func connected(_ channel: Channel, _ result: Int32) {
        channel.ending?.connected = nil
        guard !isOver, self.channel === channel else {
            channel.closeNow(.immediate)
            return
        }
        guard result == 0 else {
            self.channel = nil
            channel.closeNow(.immediate)
            if result == -EAGAIN, let address = tried, address.isUnix {
                retry(address)
            } else {
                tryNext(TransportError(call: .connect, errno: -result, subject: tried?.description))
            }
            return
        }
        for handler in makeHandlers() { channel.pipeline.addLast(handler) }
        self.channel = nil
        channel.becomeActive()
        finish(.success(channel))
    }

    /// The backlog of a Unix listener is full. io_uring waits for room as connect(2) does; a readiness engine is told to come
    /// again, and nothing tells it when.
    private func retry(_ address: SocketAddress) {
        remaining = [address] + remaining
        let timer = CallbackTimer { [weak self] in
            self?.tryNext(TransportError(.connectionRefused, call: .connect, errno: EAGAIN))
        }
        timer.arm(on: loop, at: loop.now.advanced(by: Self.pauseWithFullBacklog))
    }

    func finish(_ outcome: Result<Channel, TransportError>) {
        guard !isOver else { return }
        isOver = true
        timer?.disarm(on: loop)
        timer = nil
        channel?.closeNow(.immediate)
        channel = nil
        guard let continuation else {
            early = outcome
            return
        }
        self.continuation = nil
        continuation.resume(returning: outcome)
    }
}

/// Brings the resolver's answer to the loop of its attempt.
private final class ResolvedWork: LoopWork {
    private let attempt: ConnectAttempt
    private let outcome: Result<[SocketAddress], TransportError>
    init(_ attempt: ConnectAttempt, _ outcome: Result<[SocketAddress], TransportError>) {
        self.attempt = attempt
        self.outcome = outcome
    }
    override func run(on loop: EventLoop) { attempt.resolved(outcome) }
    // The loop has ended, so nobody else touches the attempt any more.
    override func reject() { attempt.finish(.failure(TransportError(.loopShutDown, call: .connect))) }
}
