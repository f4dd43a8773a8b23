internal import CTransport
internal import Glibc

/// Starts a server.
///
///     let server = try await ServerBootstrap(group: group)
///         .childOptions(.waterMark(low: .kibibytes(32), high: .kibibytes(64)))
///         .childHandlers { [Echo()] }
///         .bind(host: "127.0.0.1", port: 7000)
///
/// A value: every method returns a changed copy. The order of the calls does not matter. Of options that are given twice the
/// last counts; handlers, task and error handler can be given once, or binding fails.
public struct ServerBootstrap: Sendable {
    private let group: EventLoopGroup
    private var options: [ChannelOption] = []
    private var backlog: Int32 = 4096
    private var removesSocketFile = true
    private var handlers = GivenOnce<@Sendable (Channel) throws -> [any ChannelHandler]>("childHandlers")
    private var service = GivenOnce<Service>("serve")
    private var errorHandler = GivenOnce<@Sendable (TransportError) -> Void>("onAcceptError")

    /// Who serves accepted channels as connections.
    private enum Service {
        /// A task that this begins.
        case task(@Sendable (Connection) -> Task<Void, Never>)
        /// ``ServerChannel/run(shutdownWithin:onError:_:)``.
        case run
    }

    /// A server on the loops of `group`: each loop accepts for itself.
    public init(group: EventLoopGroup) { self.group = group }

    /// Options of the accepted channels, added to those given before.
    public func childOptions(_ options: ChannelOption...) -> ServerBootstrap { changed { $0.options += options } }

    /// Options of the accepted channels, added to those given before.
    public func childOptions(_ options: [ChannelOption]) -> ServerBootstrap { changed { $0.options += options } }

    /// The handlers of an accepted channel, first to last. Called on the channel's loop, once per connection, before the channel is
    /// active. To be given once.
    ///
    /// When `make` throws, the connection is reset, and the error is told where those of accepting are (``onAcceptError(_:)``):
    /// one that is not a ``TransportError`` as `.handlerFailed`, with the error in ``TransportError/underlying``.
    public func childHandlers(_ make: @escaping @Sendable () throws -> sending [any ChannelHandler]) -> ServerBootstrap
    {
        changed { $0.handlers.give { _ in try make() } }
    }

    /// The same, for handlers that depend on the channel. What is written to it now fails: it is not active yet.
    ///
    ///     .childHandlers { channel in [Session(number: numbers.next(), on: channel.eventLoop)] }
    public func childHandlers(
        _ make: @escaping @Sendable (Channel) throws -> sending [any ChannelHandler]
    ) -> ServerBootstrap {
        changed { $0.handlers.give(make) }
    }

    /// Serves every accepted channel with a task of its own, on the channel's loop, instead of (or behind) handlers. To be
    /// given once.
    ///
    /// The tasks are nobody's children: they see no task-locals, and nobody awaits them but ``ServerChannel/shutdown(within:)``
    /// and ``EventLoopGroup/shutdown(within:)``. That suits a server that runs beside everything else until the group ends. Where
    /// a task is the server's, ``ServerChannel/run(shutdownWithin:onError:_:)`` makes them its children.
    ///
    /// When `body` returns or throws, the channel closes gracefully. When the channel closes first, the task is cancelled. When a
    /// graceful shutdown begins while `body` is at work, it is left to finish until the deadline:
    /// ``Connection/isShuttingDown`` tells it.
    ///
    ///     .serve { connection in
    ///         for try await bytes in connection.inbound { try await connection.send(bytes) }
    ///     }
    ///
    /// - Parameters:
    ///   - onError: called on the channel's loop with what `body` threw, a broken connection included. Default: it
    ///     is dropped, because it ends nothing but its own connection.
    ///   - body: serves one connection; its task is on the connection's loop.
    public func serve(
        onError: (@Sendable (any Error) -> Void)? = nil,
        _ body: @escaping @Sendable (Connection) async throws -> Void
    ) -> ServerBootstrap {
        changed { $0.service.give(.task { connection in Self.serve(connection, onError, body) }) }
    }

    /// Leaves accepted channels to ``ServerChannel/run(shutdownWithin:onError:_:)`` as connections, behind the handlers. A server
    /// without handlers does so anyway.
    public func childConnections() -> ServerBootstrap { changed { $0.service.give(.run) } }

    private static func serve(
        _ connection: Connection, _ onError: (@Sendable (any Error) -> Void)?,
        _ body: @escaping @Sendable (Connection) async throws -> Void
    ) -> Task<Void, Never> {
        Task(executorPreference: connection.channel.eventLoop.taskExecutor) {
            do { try await body(connection) } catch { onError?(error) }
            connection.channel.close()
        }
    }

    /// How many connections the kernel keeps waiting to be accepted; it caps the number at `net.core.somaxconn`.
    /// Default 4,096, the kernel's own cap since 5.4.
    public func backlog(_ count: Int) -> ServerBootstrap { changed { $0.backlog = Int32(clamping: max(1, count)) } }

    /// Whether the file of a Unix domain socket is the server's business. Default true: one that was left behind, so that connecting to
    /// it is refused, is removed before binding, and the server's own when it closes; never one at which somebody listens, and
    /// never anything but a socket. Off, there must be no file, and the server's own stays: for sockets that others look after.
    public func removeSocketFile(_ removes: Bool) -> ServerBootstrap { changed { $0.removesSocketFile = removes } }

    /// Called on a loop when a connection could not be accepted, such as for want of descriptors, or its handlers could not be made.
    /// Accepting goes on by itself when a descriptor is free. To be given once.
    public func onAcceptError(_ handler: @escaping @Sendable (TransportError) -> Void) -> ServerBootstrap {
        changed { $0.errorHandler.give(handler) }
    }

    /// Listens on an IP address or host name.
    ///
    /// - Parameters:
    ///   - host: a name, or a literal address.
    ///   - port: 0 lets the kernel choose: see ``ServerChannel/localAddress``.
    /// - Throws: `.addressInUse`, `.invalidAddress`, `.notPermitted`, `.descriptorLimit`, `.unsupportedOption`, `.loopShutDown`,
    ///   `.conflictingConfiguration`, `.system`, each about the address, or about the name if that has none.
    public func bind(host: String, port: UInt16) async throws(TransportError) -> ServerChannel {
        let children = try children
        let addresses = try await Resolver.resolve(host: host, port: port)
        var failure = TransportError(.invalidAddress, call: .getaddrinfo, errno: EAI_NONAME)
        for address in addresses {
            do throws(TransportError) {
                return try await bind(to: address, children)
            } catch {
                failure = error
            }
        }
        throw failure
    }

    /// Listens on a Unix domain socket. A file that a server left behind there is replaced, and removed when this one closes:
    /// see ``removeSocketFile(_:)``.
    public func bind(unixDomainSocketPath path: String) async throws(TransportError) -> ServerChannel {
        try await bind(to: .unix(path, for: .bind))
    }

    /// Listens on `address`.
    public func bind(to address: SocketAddress) async throws(TransportError) -> ServerChannel {
        try await bind(to: address, children)
    }

    /// What every accepted channel is made with.
    private struct Children {
        let configuration: ChannelConfiguration
        let makeHandlers: @Sendable (Channel) throws -> [any ChannelHandler]
        let errorHandler: (@Sendable (TransportError) -> Void)?
        /// Where the connections go that ``ServerChannel/run(shutdownWithin:onError:_:)`` serves; `nil`: it has none.
        let accepted: AcceptedConnections?
    }

    private var children: Children {
        get throws(TransportError) {
            var options = options
            let given = try handlers.part
            var makeHandlers = given ?? { _ in [] }
            var accepted: AcceptedConnections?
            if let service = try service.part ?? (given == nil ? .run : nil) {
                // The task may still be answering when the peer has finished sending; its end closes the channel.
                options.insert(.allowHalfClosure(true), at: 0)
                let started: @Sendable (Connection) -> InboundBridge.Service
                switch service {
                case .task(let begin): started = { .task(begin($0)) }
                case .run:
                    let connections = AcceptedConnections(loops: group.loops.count)
                    accepted = connections
                    started = { Self.hand($0, to: connections) }
                }
                makeHandlers = { [makeHandlers] in try makeHandlers($0) + [InboundBridge(started: started)] }
            }
            return Children(
                configuration: ChannelConfiguration(options), makeHandlers: makeHandlers,
                errorHandler: try errorHandler.part, accepted: accepted)
        }
    }

    private static func hand(_ connection: Connection, to accepted: AcceptedConnections) -> InboundBridge.Service {
        if accepted.add(connection) { return .expected }
        // It was on its way from loop to loop when the server closed: as one that was not accepted.
        connection.channel.close(.reset)
        return .none
    }

    private func bind(
        to address: SocketAddress, _ children: Children
    ) async throws(TransportError) -> ServerChannel {
        let configuration = children.configuration
        let loops = address.isUnix ? [group.next()] : group.loops
        let sockets = try listen(on: address, count: loops.count, configuration)
        let factory = ChildFactory(
            address: sockets.address, configuration: configuration, makeHandlers: children.makeHandlers,
            errorHandler: children.errorHandler,
            distribution: address.isUnix && group.loops.count > 1 ? group : nil)
        let server = ServerChannel(
            localAddress: sockets.address, group: group, configuration: configuration, accepted: children.accepted)
        let file = removesSocketFile ? SocketFile(sockets.address) : nil
        var failure: TransportError?
        for (loop, descriptor) in zip(loops, sockets.descriptors) {
            guard failure == nil else {
                closeSocket(descriptor)
                continue
            }
            let listener = Listener(eventLoop: loop, factory: factory, file: file) { server.listenerClosed() }
            // Before it starts: its loop may end, and the listener with it, before this task goes on.
            server.add(listener)
            let accepts = children.accepted == nil
            switch await loop.ask({ Self.start(listener, descriptor, accepts) }) {
            case .success(nil): continue
            case .success(let error): failure = error
            case .failure(let error):
                closeSocket(descriptor)
                failure = error.of(.bind)
            }
            server.listenerClosed()
        }
        if let failure {
            file?.remove()
            server.close()
            throw failure.about(sockets.address.description)
        }
        return server
    }

    private static func start(_ listener: Listener, _ descriptor: Int32, _ accepts: Bool) -> TransportError? {
        do throws(TransportError) {
            try listener.start(descriptor)
            if accepts { listener.accept() }
            return nil
        } catch {
            return error
        }
    }

    /// The listening sockets, one per loop: the kernel spreads connections over them (SO_REUSEPORT).
    private func listen(
        on address: SocketAddress, count: Int, _ configuration: ChannelConfiguration
    ) throws(TransportError) -> (descriptors: [Int32], address: SocketAddress) {
        LoopDriver.visit(group.loops[0])
        // SO_REUSEPORT would let a second server of the same user share the port in silence. So the port must be free
        // for a socket without it first. That one does not listen, or clients would be let in and thrown out with it.
        if count > 1, address.port != 0 {
            closeSocket(try ListeningSocket.open(address, sharing: false, backlog: nil, configuration))
        }
        var descriptors: [Int32] = []
        var bound = address
        do throws(TransportError) {
            for _ in 0..<count {
                descriptors.append(
                    try ListeningSocket.open(
                        bound, sharing: count > 1, backlog: backlog, replacing: removesSocketFile, configuration))
                if bound.port == 0, !bound.isUnix { bound = try ListeningSocket.address(of: descriptors[0]) }
            }
        } catch {
            for descriptor in descriptors { closeSocket(descriptor) }
            throw error
        }
        return (descriptors, bound)
    }

    private func changed(_ change: (inout ServerBootstrap) -> Void) -> ServerBootstrap {
        var copy = self
        change(&copy)
        return copy
    }
}

/// Makes sockets that listen.
enum ListeningSocket {
    /// Without a backlog it is bound and does not listen.
    ///
    /// - Parameter replacing: the file of a Unix domain socket that was left behind.
    static func open(
        _ address: SocketAddress, sharing: Bool, backlog: Int32?, replacing: Bool = false,
        _ configuration: ChannelConfiguration
    ) throws(TransportError) -> Int32 {
        do throws(TransportError) {
            return try make(address, sharing: sharing, backlog, replacing, configuration)
        } catch {
            throw error.about(address.description)
        }
    }

    private static func make(
        _ address: SocketAddress, sharing: Bool, _ backlog: Int32?, _ replacing: Bool,
        _ configuration: ChannelConfiguration
    ) throws(TransportError) -> Int32 {
        var failure = ct_failure()
        let descriptor = ct_socket_open(address.family, &failure)
        guard descriptor >= 0 else { throw TransportError(failure) }
        do throws(TransportError) {
            if !address.isUnix {
                try checked(.setsockopt, ct_socket_set_int(descriptor, SOL_SOCKET, SO_REUSEADDR, 1))
                if sharing { try checked(.setsockopt, ct_socket_set_int(descriptor, SOL_SOCKET, SO_REUSEPORT, 1)) }
            }
            try configuration.apply(to: descriptor, isUnix: address.isUnix)
            var raw = address.raw
            var bound = ct_socket_bind(descriptor, &raw, &failure)
            if bound == -EADDRINUSE, replacing, SocketFile.removeStale(at: address) {
                bound = ct_socket_bind(descriptor, &raw, &failure)
            }
            guard bound == 0 else { throw TransportError(failure) }
            if let backlog, ct_socket_listen(descriptor, backlog, &failure) < 0 {
                if replacing { SocketFile(address)?.remove() }
                throw TransportError(failure)
            }
        } catch {
            closeSocket(descriptor)
            throw error
        }
        return descriptor
    }

    static func address(of descriptor: Int32) throws(TransportError) -> SocketAddress {
        var address = ct_address()
        try checked(.getsockname, ct_socket_local_address(descriptor, &address))
        return SocketAddress(address)
    }
}
