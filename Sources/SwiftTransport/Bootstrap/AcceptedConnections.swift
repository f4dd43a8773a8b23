internal import Synchronization

/// The connections of a server on their way to ``ServerChannel/run(shutdownWithin:onError:_:)``, whose task on each loop takes
/// those of that loop. Any thread.
final class AcceptedConnections: Sendable {
    private struct Queue {
        var waiting: [Connection] = []
        var taker: UnsafeContinuation<[Connection]?, Never>?
        var isOver = false
    }
    private let queues: [LoopQueue]

    private final class LoopQueue: Sendable {
        let state = Mutex(Queue())
    }

    init(loops: Int) { queues = (0..<loops).map { _ in LoopQueue() } }

    /// False when nobody will take it any more.
    func add(_ connection: Connection) -> Bool {
        let queue = queues[connection.channel.eventLoop.index]
        return queue.state.withLock { state in
            guard !state.isOver else { return false }
            if let taker = state.taker {
                state.taker = nil
                taker.resume(returning: [connection])
            } else {
                state.waiting.append(connection)
            }
            return true
        }
    }

    /// Those of `loop` that wait; `nil` when none will come any more. One task of each loop may ask.
    func next(on loop: EventLoop) async -> [Connection]? {
        let queue = queues[loop.index]
        return await withUnsafeContinuation { continuation in
            queue.state.withLock { state in
                if !state.waiting.isEmpty {
                    continuation.resume(returning: state.waiting)
                    state.waiting = []
                } else if state.isOver {
                    continuation.resume(returning: nil)
                } else {
                    state.taker = continuation
                }
            }
        }
    }

    /// Nothing listens any more.
    func finish() {
        for queue in queues {
            queue.state.withLock { state in
                state.isOver = true
                state.taker?.resume(returning: nil)
                state.taker = nil
            }
        }
    }
}
