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
    let group: EventLoopGroup
    private(set) var options: [ChannelOption] = []
    private(set) var backlog: Int32 = 4096
    private(set) var removesSocketFile = true
    private(set) var handlers = GivenOnce<HandlerFactory>("childHandlers")
    private(set) var service = GivenOnce<Service>("serve")
    private(set) var errorHandler = GivenOnce<@Sendable (TransportError) -> Void>("onAcceptError")

    /// Who serves accepted channels as connections.
    enum Service {
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
        changed { $0.handlers.give(.atOnce { _ in try make() }) }
    }

    /// The same, for handlers that depend on the channel. What is written to it now fails: it is not active yet.
    ///
    ///     .childHandlers { channel in [Session(number: numbers.next(), on: channel.eventLoop)] }
    public func childHandlers(
        _ make: @escaping @Sendable (Channel) throws -> sending [any ChannelHandler]
    ) -> ServerBootstrap {
        changed { $0.handlers.give(.atOnce(make)) }
    }

    /// The same, for handlers that can be made only after a wait: for a key, a database, somebody's leave.
    ///
    ///     .childHandlers { channel in [Session(try await tenants.tenant(of: channel.remoteAddress()))] }
    ///
    /// In this order: the connection is accepted; `make` runs, as a task on the channel's loop; the handlers are added
    /// (``ChannelHandler/handlerAdded(_:)``), behind what `make` has added itself; the channel becomes active; reading begins, with what
    /// the peer has sent meanwhile, which waits in the kernel. That the peer has gone meanwhile is noticed then.
    ///
    /// Until then the channel is not active, and counts as an open one: `make` should have a time limit. It may close the channel.
    /// When that is closed, by whomever, or a shutdown begins, the task is cancelled, and what `make` still returns or throws is dropped.
    public func childHandlers(
        _ make: @escaping @Sendable (Channel) async throws -> sending [any ChannelHandler]
    ) -> ServerBootstrap {
        changed { $0.handlers.give(.waiting(make)) }
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

    private func changed(_ change: (inout ServerBootstrap) -> Void) -> ServerBootstrap {
        var copy = self
        change(&copy)
        return copy
    }
}
