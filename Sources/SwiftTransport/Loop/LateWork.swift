internal import Synchronization

/// What reaches a loop after it has ended and must happen all the same: jobs of its executors, because a task whose job does
/// not run would hang for ever, and the truth about writes that its handlers wait for. One thing after the other, as it
/// would have been on the loop, in a task of the global pool.
///
/// Not before the loop has done its own last work: an actor or a handler of the loop would run in two places at once.
final class LateWork: Sendable {
    private enum Item {
        /// A job, with the loop as the serial executor of the actor it belongs to; `nil`: a task's own.
        case job(UnownedJob, EventLoop?)
        case body(@Sendable () -> Void)
    }
    private struct Queue {
        var items: [Item] = []
        var loopHasEnded = false
        var draining = false

        /// True when somebody must begin to drain.
        mutating func begin() -> Bool {
            guard loopHasEnded, !draining, !items.isEmpty else { return false }
            draining = true
            return true
        }
    }
    private let queue = Mutex(Queue())

    func run(_ job: UnownedJob, isolatedTo loop: EventLoop?, on executor: LoopTaskExecutor) {
        change(executor) { $0.items.append(.job(job, loop)) }
    }

    func run(on executor: LoopTaskExecutor, _ body: @escaping @Sendable () -> Void) {
        change(executor) { $0.items.append(.body(body)) }
    }

    /// The loop has ended; its thread does nothing more.
    func begin(on executor: LoopTaskExecutor) {
        change(executor) { $0.loopHasEnded = true }
    }

    private func change(_ executor: LoopTaskExecutor, _ body: (inout Queue) -> Void) {
        let start = queue.withLock { queue in
            body(&queue)
            return queue.begin()
        }
        if start { Task.detached { self.drain(executor) } }
    }

    private func drain(_ executor: LoopTaskExecutor) {
        while let items = takeAll() {
            for item in items {
                switch item {
                case .job(let job, let loop?):
                    let serial = loop.asUnownedSerialExecutor()
                    job.runSynchronously(isolatedTo: serial, taskExecutor: executor.asUnownedTaskExecutor())
                case .job(let job, nil): job.runSynchronously(on: executor.asUnownedTaskExecutor())
                case .body(let body): body()
                }
            }
        }
    }

    /// `nil`, and no longer draining, when there is nothing.
    private func takeAll() -> [Item]? {
        queue.withLock { queue in
            guard !queue.items.isEmpty else {
                queue.draining = false
                return nil
            }
            defer { queue.items = [] }
            return queue.items
        }
    }
}
