internal import Synchronization

/// Runs jobs that reach an executor after its loop has ended. A job must run, or its task would hang for ever, so they
/// run one after the other (as they would have on the loop) in a task of the global pool.
final class LateJobs: Sendable {
    private struct Queue {
        var jobs: [(UnownedJob, LoopMessage)] = []
        var draining = false
    }
    private let queue = Mutex(Queue())

    func run(_ job: UnownedJob, as kind: LoopMessage, of loop: EventLoop) {
        let start = queue.withLock { queue in
            queue.jobs.append((job, kind))
            defer { queue.draining = true }
            return !queue.draining
        }
        if start { Task.detached { self.drain(loop) } }
    }

    private func drain(_ loop: EventLoop) {
        while let (job, kind) = next() {
            loop.runJob(kind, unsafeBitCast(job, to: UnsafeMutableRawPointer.self))
        }
    }

    private func next() -> (UnownedJob, LoopMessage)? {
        queue.withLock { queue in
            if queue.jobs.isEmpty {
                queue.draining = false
                return nil
            }
            return queue.jobs.removeFirst()
        }
    }
}
