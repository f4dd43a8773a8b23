internal import Synchronization

/// Runs jobs that reach an executor after its loop has ended. A job must run, or its task would hang for ever, so they
/// run one after the other (as they would have on the loop) in a task of the global pool.
///
/// Not before the loop has run its own last jobs: an actor on the loop would run in two places at once.
final class LateJobs: Sendable {
    private struct Job {
        let job: UnownedJob
        /// The loop as the serial executor of the actor the job belongs to; `nil`: a task's own.
        let loop: EventLoop?
    }
    private struct Queue {
        var jobs: [Job] = []
        var loopHasEnded = false
        var draining = false

        /// True when somebody must begin to drain.
        mutating func begin() -> Bool {
            guard loopHasEnded, !draining, !jobs.isEmpty else { return false }
            draining = true
            return true
        }
    }
    private let queue = Mutex(Queue())

    func run(_ job: UnownedJob, isolatedTo loop: EventLoop?, on executor: LoopTaskExecutor) {
        change(executor) { $0.jobs.append(Job(job: job, loop: loop)) }
    }

    /// The loop has ended; its thread runs no more jobs.
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
        while let next = next() {
            if let loop = next.loop {
                let serial = loop.asUnownedSerialExecutor()
                next.job.runSynchronously(isolatedTo: serial, taskExecutor: executor.asUnownedTaskExecutor())
            } else {
                next.job.runSynchronously(on: executor.asUnownedTaskExecutor())
            }
        }
    }

    private func next() -> Job? {
        queue.withLock { queue in
            if queue.jobs.isEmpty {
                queue.draining = false
                return nil
            }
            return queue.jobs.removeFirst()
        }
    }
}
