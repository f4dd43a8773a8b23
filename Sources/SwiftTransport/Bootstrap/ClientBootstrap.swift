/// Makes connections.
///
///     let channel = try await ClientBootstrap(group: group)
///         .handlers { [Printer()] }
///         .connect(host: "127.0.0.1", port: 7000)
///
/// A value: every method returns a changed copy. The order of the calls does not matter. Of options that are given twice the
/// last counts; handlers can be given once, or connecting fails.
public struct ClientBootstrap: Sendable {
    private let group: EventLoopGroup
    private var options: [ChannelOption] = []
    private var timeout: Duration = .seconds(30)
    private var handlers = GivenOnce<HandlerFactory>("handlers")

    /// Connections on the loops of `group`; from one of its loops the connection stays on that loop.
    public init(group: EventLoopGroup) { self.group = group }

    /// Options of the channel, added to those given before.
    public func options(_ options: ChannelOption...) -> ClientBootstrap { changed { $0.options += options } }

    /// Options of the channel, added to those given before.
    public func options(_ options: [ChannelOption]) -> ClientBootstrap { changed { $0.options += options } }

    /// The handlers of the channel, first to last. Called on the channel's loop before it connects, once for each address that is
    /// tried: the handlers of one that fails leave without having seen an event. To be given once.
    ///
    /// When `make` throws, or a handler closes the channel before it is connected, that address has failed: an error that is not a
    /// ``TransportError`` is told as `.handlerFailed`, with the error in ``TransportError/underlying``.
    public func handlers(_ make: @escaping @Sendable () throws -> sending [any ChannelHandler]) -> ClientBootstrap {
        changed { $0.handlers.give(.atOnce { _ in try make() }) }
    }

    /// The same, for handlers that depend on the channel. What is written to it now fails: it is not connected yet.
    public func handlers(
        _ make: @escaping @Sendable (Channel) throws -> sending [any ChannelHandler]
    ) -> ClientBootstrap {
        changed { $0.handlers.give(.atOnce(make)) }
    }

    /// The same, for handlers that can be made only after a wait, for a name or a key for instance. `make` runs as a task on the
    /// channel's loop, within the time limit of the connect. When the connect ends before, the task is cancelled, and what it still
    /// returns or throws is dropped.
    public func handlers(
        _ make: @escaping @Sendable (Channel) async throws -> sending [any ChannelHandler]
    ) -> ClientBootstrap {
        changed { $0.handlers.give(.waiting(make)) }
    }

    /// How long a connect may take, resolving the name and trying all its addresses included. Default 30 s, as in Netty.
    public func connectTimeout(_ time: Duration) -> ClientBootstrap { changed { $0.timeout = time } }

    /// Connects to a host name or literal address. The addresses of a name are tried in the resolver's order.
    ///
    /// It ends at its time limit, when its task is cancelled and when its loop begins to shut down, whatever it waits for.
    ///
    /// - Throws: `.connectionRefused`, `.timedOut`, `.unreachable`, `.invalidAddress`, `.descriptorLimit`, `.notPermitted`,
    ///   `.cancelled`, `.loopShutDown`, `.outOfMemory`, `.handlerFailed`, `.closed`, `.system`, each about the address (`localhost at 127.0.0.1:80`) or
    ///   the name (`localhost:80`) it was: of several addresses the last one's failure. `.conflictingConfiguration` about the
    ///   method that was called twice.
    public func connect(host: String, port: UInt16) async throws(TransportError) -> Channel {
        try await attempt(Self.target(host, port))
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
        try await open(Self.target(host, port))
    }

    /// Connects to `address` and gives the channel as a ``Connection``.
    public func open(_ address: SocketAddress) async throws(TransportError) -> Connection {
        try await open(.addresses([address]))
    }

    static func target(_ host: String, _ port: UInt16) -> ConnectAttempt.Target {
        Resolver.literal(host, port).map { .addresses([$0]) } ?? .name(host, port)
    }

    func open(_ target: ConnectAttempt.Target) async throws(TransportError) -> Connection {
        let bridge = InboundBridge()
        return Connection(channel: try await attempt(target, bridge), bridge: bridge)
    }

    /// - Parameter bridge: comes behind the handlers.
    private func attempt(
        _ target: ConnectAttempt.Target, _ bridge: InboundBridge? = nil
    ) async throws(TransportError) -> Channel {
        var options = options
        var handlers = try handlers.part ?? .none
        if let bridge {
            // What was kept may be answered after the peer has finished sending; whoever opened the connection closes it.
            options.insert(.allowHalfClosure(true), at: 0)
            handlers = handlers.adding { bridge }
        }
        let attempt = ConnectAttempt(
            to: target, on: group.preferred(), .new(ChannelConfiguration(options), handlers), within: timeout)
        return try await attempt.outcome().get()
    }

    // MARK: In steps

    /// Makes a channel that is not connected yet: for what must be there before the first byte, and for adapters to other interfaces. It
    /// has the options of the bootstrap, gets its handlers, and can be given more of them on its loop; ``Channel/connect(to:)``
    /// connects it, once.
    ///
    ///     let channel = try ClientBootstrap(group: group).options(.noDelay(false)).makeChannel()
    ///     _ = await channel.eventLoop.run { channel.pipeline.addLast(Session()) }
    ///     channel.onClose { sessions.remove(channel) }
    ///     try await channel.connect(to: address)
    ///
    /// Until then it is not active, writes fail with `.notYetConnected`, and the loop holds it: one that is never connected has to be
    /// closed, or stays until the loop shuts down. The handlers are made before this returns when it is called on the loop, else on the
    /// loop and before the connect begins; if they cannot be made the channel is closed, and connecting fails with the reason.
    /// Any thread.
    ///
    /// - Parameter loop: where it lives. Default: the present loop if it is one of the group, else the group's next.
    /// - Throws: `.loopShutDown`, `.outOfMemory`, `.conflictingConfiguration`.
    public func makeChannel(on loop: EventLoop? = nil) throws(TransportError) -> Channel {
        let handlers = try handlers.part ?? .none
        let loop = loop ?? group.preferred()
        let channel = Channel(
            eventLoop: loop, configuration: ChannelConfiguration(options, connectTimeout: timeout))
        if loop.isCurrent {
            try channel.begin(handlers)
        } else {
            let work = BeginWork(channel, handlers)
            if !loop.post(work) { throw TransportError(work.rejection) }
        }
        return channel
    }

    private func changed(_ change: (inout ClientBootstrap) -> Void) -> ClientBootstrap {
        var copy = self
        change(&copy)
        return copy
    }
}

/// Brings an outgoing channel to its loop.
private final class BeginWork: LoopWork {
    private let channel: Channel
    private let handlers: HandlerFactory
    /// Why the loop did not take it.
    private(set) var rejection = TransportError.Code.loopShutDown

    init(_ channel: Channel, _ handlers: HandlerFactory) {
        self.channel = channel
        self.handlers = handlers
    }

    /// When the loop is about to end the channel is closed, and connecting fails with the reason.
    override func run(on loop: EventLoop) { try? channel.begin(handlers) }
    override func reject(_ why: TransportError.Code) { rejection = why }
    override var mustArrive: Bool { false }
}
