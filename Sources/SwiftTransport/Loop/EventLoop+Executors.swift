internal import CTransport
internal import Glibc

// A loop as what tasks and actors run on.
extension EventLoop {
    /// A task executor that is this loop: for `Task(executorPreference:)` and `withTaskExecutorPreference`.
    public var taskExecutor: any TaskExecutor { executor }

    /// For the runtime: takes a job for the loop's thread. Any thread.
    public func enqueue(_ job: UnownedJob) {
        if offer(ct_message(.serialJob, job)) != nil { executor.bring(job, isolatedTo: self) }
    }

    /// For the runtime, and for an actor's `unownedExecutor`.
    public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

    /// For the runtime: stops the program when it is not on the loop's thread.
    public func checkIsolated() {
        require(isCurrent, "code that is isolated to event loop \(index) runs on another thread")
    }

    /// For the runtime: whether this is the loop's thread.
    public func isIsolatingCurrentContext() -> Bool? { isCurrent }

    func runJob(_ kind: LoopMessage, _ word: UnsafeMutableRawPointer) {
        assertOnLoop()
        let job = LoopMessage.job(word)
        if kind == .serialJob {
            job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: executor.asUnownedTaskExecutor())
        } else {
            job.runSynchronously(on: executor.asUnownedTaskExecutor())
        }
    }
}

/// The task executor of a loop. An object of its own because the runtime skips a hop only when both executors' identities
/// match. A task may hold it longer than anybody holds the loop, so it owns what it needs.
final class LoopTaskExecutor: TaskExecutor, @unchecked Sendable {
    private let mailbox: OpaquePointer
    let late = LateWork()

    init(_ mailbox: OpaquePointer) {
        self.mailbox = mailbox
        ct_mailbox_retain(mailbox)
    }

    deinit { ct_mailbox_release(mailbox) }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let message = ct_message(.taskJob, job)
        if !postFromLoop(message) { bring(job, isolatedTo: nil) }
    }

    /// From any thread, and when the loop cannot take it from its own. A job must run, or its task would hang for ever.
    func bring(_ job: UnownedJob, isolatedTo loop: EventLoop?) {
        if !deliver(job, isolatedTo: loop) { Undelivered.here.keep { self.deliver(job, isolatedTo: loop) } }
    }

    /// False when it must be tried again.
    private func deliver(_ job: UnownedJob, isolatedTo loop: EventLoop?) -> Bool {
        let result = ct_mailbox_post(mailbox, ct_message(loop == nil ? .taskJob : .serialJob, job))
        if result == -ENOMEM { return false }
        if result != 0 { late.run(job, isolatedTo: loop, on: self) }
        return true
    }

    /// True when this is the loop's own thread, which keeps the loop alive, and the loop took the message.
    private func postFromLoop(_ message: ct_message) -> Bool {
        guard let current = ct_current_context() else { return false }
        return Unmanaged<EventLoop>.fromOpaque(current)._withUnsafeGuaranteedRef {
            $0.mailbox == mailbox && $0.offer(message) == nil
        }
    }

    func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }
}
