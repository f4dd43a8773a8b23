internal import Synchronization

/// A server that listens: one listening socket per loop, and the connections it has accepted. Any thread may use it.
public final class ServerChannel: Sendable {
    private struct State {
        var listeners: [Listener] = []
        var open = 0
        var waiters: [UnsafeContinuation<Void, Never>] = []
        /// Nobody has called ``run(shutdownWithin:onError:_:)``.
        var isRunFree = true
    }
    private let state = Mutex(State())

    /// Where it listens; with the port the kernel chose if 0 was asked for.
    public let localAddress: SocketAddress

    private let group: EventLoopGroup
    /// Every bind makes its own: the mark by which its connections are known.
    private let configuration: ChannelConfiguration

    /// `nil`: the connections are served otherwise.
    private let accepted: AcceptedConnections?

    init(
        localAddress: SocketAddress, group: EventLoopGroup, configuration: ChannelConfiguration,
        accepted: AcceptedConnections?
    ) {
        self.localAddress = localAddress
        self.group = group
        self.configuration = configuration
        self.accepted = accepted
    }

    func add(_ listener: Listener) {
        state.withLock {
            $0.listeners.append(listener)
            $0.open += 1
        }
    }

    func listenerClosed() {
        let waiters = state.withLock { state -> [UnsafeContinuation<Void, Never>]? in
            state.open -= 1
            guard state.open == 0 else { return nil }
            defer { state.waiters = [] }
            state.listeners = []
            return state.waiters
        }
        guard let waiters else { return }
        accepted?.finish()
        for waiter in waiters { waiter.resume() }
    }

    /// Stops listening and ends the server's connections as ``EventLoopGroup/shutdown(within:)`` does it for all of a group: what
    /// is under way is finished, the rest closes at once, what is left at the deadline is cut off with a reset. The group
    /// goes on.
    ///
    /// - Parameter duration: the time allowed; default 15 s, as in Netty.
    /// - Returns: how the connections ended.
    @discardableResult
    public func shutdown(within duration: Duration = .seconds(15)) async -> ShutdownReport {
        close()
        await closed()
        let configuration = configuration
        return await withTaskGroup(of: ShutdownReport.self) { tasks in
            for loop in group.loops {
                tasks.addTask {
                    await loop.depart(within: duration) { ($0 as? Channel)?.configuration === configuration }
                }
            }
            return await tasks.reduce(into: ShutdownReport()) { $0.add($1) }
        }
    }

    /// Stops listening. Connections stay: see ``shutdown(within:)``. Returns at once.
    public func close() {
        for listener in state.withLock({ $0.listeners }) {
            listener.eventLoop.post(ClosureWork { _ in listener.close() })
        }
    }

    /// Returns when nothing listens any more.
    public func closed() async {
        await withUnsafeContinuation { continuation in
            let over = state.withLock { state in
                if state.open > 0 { state.waiters.append(continuation) }
                return state.open == 0
            }
            if over { continuation.resume() }
        }
    }

    // MARK: Connections as tasks

    /// Serves the server's connections, each with a task on its own loop, and returns when the server is closed and all of them
    /// are over. Accepting begins with the call: until then connections wait in the kernel's backlog.
    ///
    ///     let server = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 7000)
    ///     try await server.run { connection in
    ///         for try await bytes in connection.inbound { try await connection.send(bytes) }
    ///     }
    ///
    /// The tasks see the task-locals of the caller. When `body` returns or throws, its connection closes gracefully. When the
    /// connection closes first, its task is cancelled. ``shutdown(within:)``, of the server or the group, lets those finish that
    /// are at work (``Connection/isShuttingDown`` tells them), and so does cancelling the task that runs this: a task that waits
    /// for input is told at once, and one whose time is over is cancelled when its connection is reset. Who neither looks nor
    /// ends keeps it from returning.
    ///
    /// For a server without handlers, or with ``ServerBootstrap/childConnections()`` behind them.
    ///
    /// - Parameters:
    ///   - duration: the time connections have when the calling task is cancelled; default 15 s, as in Netty.
    ///   - onError: called on the connection's loop with what `body` threw, a broken connection included. Default: it is dropped,
    ///     because it ends nothing but its own connection.
    ///   - body: serves one connection; its task is on the connection's loop.
    /// - Throws: `.conflictingConfiguration` when it was called before, or the server's connections are served otherwise.
    public func run(
        shutdownWithin duration: Duration = .seconds(15), onError: (@Sendable (any Error) -> Void)? = nil,
        _ body: @escaping @Sendable (Connection) async throws -> Void
    ) async throws(TransportError) {
        guard let accepted, takeRun() else { throw TransportError(.conflictingConfiguration, subject: "run") }
        for listener in state.withLock({ $0.listeners }) {
            listener.eventLoop.post(ClosureWork { _ in listener.accept() })
        }
        // A task of its own, with the caller's task-locals: what cancels the caller must not cancel what is under way.
        let service = Task { await serve(accepted, onError, body) }
        await withTaskCancellationHandler {
            await service.value
        } onCancel: {
            Task { await self.shutdown(within: duration) }
        }
    }

    private func takeRun() -> Bool {
        state.withLock { state in
            defer { state.isRunFree = false }
            return state.isRunFree
        }
    }

    /// On each loop one task that takes its connections, and under it one for each of them.
    private func serve(
        _ accepted: AcceptedConnections, _ onError: (@Sendable (any Error) -> Void)?,
        _ body: @escaping @Sendable (Connection) async throws -> Void
    ) async {
        await withDiscardingTaskGroup { loops in
            for loop in group.loops {
                loops.addTask(executorPreference: loop.taskExecutor) {
                    await withDiscardingTaskGroup { tasks in
                        while let connections = await accepted.next(on: loop) {
                            for connection in connections {
                                tasks.addTask { await Self.serve(connection, onError, body) }
                            }
                        }
                    }
                }
            }
        }
    }

    private static func serve(
        _ connection: Connection, _ onError: (@Sendable (any Error) -> Void)?,
        _ body: @Sendable (Connection) async throws -> Void
    ) async {
        connection.bridge.beginService()
        do { try await body(connection) } catch { onError?(error) }
        connection.bridge.endService()
        await connection.close()
    }
}
