internal import Synchronization

/// A server that listens: one listening socket per loop. Any thread may use it.
public final class ServerChannel: Sendable {
    private struct State {
        var listeners: [Listener] = []
        var open = 0
        var waiters: [UnsafeContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    /// Where it listens; with the port the kernel chose if 0 was asked for.
    public let localAddress: SocketAddress

    init(localAddress: SocketAddress) { self.localAddress = localAddress }

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

    /// Stops listening. Connections stay. Returns at once.
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
