internal import Synchronization

/// A server that listens: one listening socket per loop, and the connections it has accepted. Any thread may use it.
public final class ServerChannel: Sendable {
    private struct State {
        var listeners: [Listener] = []
        var open = 0
        var waiters: [UnsafeContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    /// Where it listens; with the port the kernel chose if 0 was asked for.
    public let localAddress: SocketAddress

    private let group: EventLoopGroup
    /// Every bind makes its own: the mark by which its connections are known.
    private let configuration: ChannelConfiguration

    init(localAddress: SocketAddress, group: EventLoopGroup, configuration: ChannelConfiguration) {
        self.localAddress = localAddress
        self.group = group
        self.configuration = configuration
    }

    func add(_ listener: Listener) {
        state.withLock {
            $0.listeners.append(listener)
            $0.open += 1
        }
    }

    func listenerClosed() {
        let waiters = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            state.open -= 1
            guard state.open == 0 else { return [] }
            defer { state.waiters = [] }
            state.listeners = []
            return state.waiters
        }
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
}
