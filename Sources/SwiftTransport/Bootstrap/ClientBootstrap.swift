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
    public func handlers(_ make: @escaping @Sendable () -> sending [any ChannelHandler]) -> ClientBootstrap {
        changed { $0.makeHandlers = make }
    }

    /// How long a connect may take, resolving the name and trying all its addresses included. Default 30 s, as in Netty.
    public func connectTimeout(_ time: Duration) -> ClientBootstrap { changed { $0.timeout = time } }

    /// Connects to a host name or literal address. The addresses of a name are tried in the resolver's order.
    ///
    /// It ends at its time limit, when its task is cancelled and when its loop begins to shut down, whatever it waits for.
    ///
    /// - Throws: `.connectionRefused`, `.timedOut`, `.unreachable`, `.invalidAddress`, `.descriptorLimit`, `.notPermitted`,
    ///   `.cancelled`, `.loopShutDown`, `.outOfMemory`, `.system`, each about the address (`localhost at 127.0.0.1:80`) or
    ///   the name (`localhost:80`) it was: of several addresses the last one's failure.
    public func connect(host: String, port: UInt16) async throws(TransportError) -> Channel {
        if let literal = Resolver.literal(host, port) { return try await connect(to: literal) }
        return try await attempt(.name(host, port))
    }

    /// Connects to a Unix domain socket. A listener whose backlog is full is asked again until the time limit.
    public func connect(unixDomainSocketPath path: String) async throws(TransportError) -> Channel {
        try await connect(to: .unix(path, for: .connect))
    }

    /// Connects to `address`.
    public func connect(to address: SocketAddress) async throws(TransportError) -> Channel {
        try await attempt(.addresses([address]))
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

    private func attempt(_ target: ConnectAttempt.Target) async throws(TransportError) -> Channel {
        let attempt = ConnectAttempt(
            to: target, on: group.preferred(), ChannelConfiguration(options), within: timeout, makeHandlers)
        let outcome = await withTaskCancellationHandler {
            await withUnsafeContinuation { attempt.start($0) }
        } onCancel: {
            attempt.cancel()
        }
        return try outcome.get()
    }

    private func changed(_ change: (inout ClientBootstrap) -> Void) -> ClientBootstrap {
        var copy = self
        change(&copy)
        return copy
    }
}
