internal import CTransport
internal import Glibc

/// Makes connections.
///
///     let channel = try await ClientBootstrap(group: group)
///         .handlers { [Printer()] }
///         .connect(host: "127.0.0.1", port: 7000)
///
/// A value: every method returns a changed copy.
public struct ClientBootstrap: Sendable {
    private let group: EventLoopGroup
    private var options: [ChannelOption] = []
    private var timeout: Duration = .seconds(30)
    private var makeHandlers: @Sendable () -> [any ChannelHandler] = { [] }

    /// Connections on the loops of `group`; from one of its loops the connection stays on that loop.
    public init(group: EventLoopGroup) { self.group = group }

    /// Options of the channel, added to those given before.
    public func options(_ options: ChannelOption...) -> ClientBootstrap { changed { $0.options += options } }

    /// Options of the channel, added to those given before.
    public func options(_ options: [ChannelOption]) -> ClientBootstrap { changed { $0.options += options } }

    /// The handlers of the channel, first to last. Called on the channel's loop before it connects.
    public func handlers(_ make: @escaping @Sendable () -> [any ChannelHandler]) -> ClientBootstrap {
        changed { $0.makeHandlers = make }
    }

    /// How long a connect may take, resolving the name and trying all its addresses included. Default 30 s, as in Netty.
    public func connectTimeout(_ time: Duration) -> ClientBootstrap { changed { $0.timeout = time } }

    /// Connects to a host name or literal address. The addresses of a name are tried in the resolver's order.
    ///
    /// Cancelling the task ends the attempt.
    ///
    /// - Throws: `.connectionRefused`, `.timedOut`, `.unreachable`, `.invalidAddress`, `.descriptorLimit`, `.cancelled`,
    ///   `.loopShutDown`, `.system`: of several addresses the last one's failure.
    public func connect(host: String, port: UInt16) async throws(TransportError) -> Channel {
        if let literal = Resolver.literal(host, port) { return try await connect(to: literal) }
        return try await attempt { $0.start(host: host, port: port) }
    }

    /// Connects to a Unix domain socket.
    public func connect(unixDomainSocketPath path: String) async throws(TransportError) -> Channel {
        try await connect(to: .unix(path, for: .connect))
    }

    /// Connects to `address`.
    public func connect(to address: SocketAddress) async throws(TransportError) -> Channel {
        try await attempt { $0.start([address]) }
    }

    /// Connects and gives the channel as a ``Connection``, to be used by tasks. It stays open until it is closed, also when
    /// the peer has finished sending.
    ///
    /// - Throws: as ``connect(host:port:)``.
    public func open(host: String, port: UInt16) async throws(TransportError) -> Connection {
        let bridge = InboundBridge()
        return Connection(channel: try await ending(with: bridge).connect(host: host, port: port), bridge: bridge)
    }

    /// Connects to `address` and gives the channel as a ``Connection``.
    public func open(_ address: SocketAddress) async throws(TransportError) -> Connection {
        let bridge = InboundBridge()
        return Connection(channel: try await ending(with: bridge).connect(to: address), bridge: bridge)
    }

    private func ending(with bridge: InboundBridge) -> ClientBootstrap {
        let handlers = makeHandlers
        return changed {
            // What was kept may be answered after the peer has finished sending; whoever opened the connection closes it.
            $0.options.insert(.allowHalfClosure(true), at: 0)
            $0.makeHandlers = { handlers() + [bridge] }
        }
    }

    private func attempt(_ begin: @escaping @Sendable (ConnectAttempt) -> Void) async throws(TransportError) -> Channel
    {
        let attempt = ConnectAttempt(
            loop: group.preferred(), configuration: ChannelConfiguration(options), timeout: timeout, makeHandlers)
        let outcome = await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                let work = ConnectWork(attempt, continuation, begin)
                attempt.loop.post(work)
            }
        } onCancel: {
            attempt.loop.post(ClosureWork { _ in attempt.finish(.failure(TransportError(.cancelled, call: .connect))) })
        }
        return try outcome.get()
    }

    private func changed(_ change: (inout ClientBootstrap) -> Void) -> ClientBootstrap {
        var copy = self
        change(&copy)
        return copy
    }
}

/// Brings an attempt to its loop.
private final class ConnectWork: LoopWork {
    private let attempt: ConnectAttempt
    private let continuation: UnsafeContinuation<Result<Channel, TransportError>, Never>
    private let begin: @Sendable (ConnectAttempt) -> Void

    init(
        _ attempt: ConnectAttempt, _ continuation: UnsafeContinuation<Result<Channel, TransportError>, Never>,
        _ begin: @escaping @Sendable (ConnectAttempt) -> Void
    ) {
        self.attempt = attempt
        self.continuation = continuation
        self.begin = begin
    }

    override func run(on loop: EventLoop) {
        attempt.begin(continuation)
        begin(attempt)
    }

    override func reject() { continuation.resume(returning: .failure(TransportError(.loopShutDown, call: .connect))) }
}
