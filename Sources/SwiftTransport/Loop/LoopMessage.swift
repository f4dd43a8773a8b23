internal import CTransport

/// What travels through a loop's mailbox: a piece of work, or a job of the Swift concurrency runtime.
///
/// Jobs are tagged with the executor they came through, because the loop must run each with the matching
/// `runSynchronously`: a mismatch makes the runtime enqueue it again (reference/swift.md section 3).
enum LoopMessage: UInt64 {
    case work = 0
    case serialJob = 1
    case taskJob = 2
}

/// A piece of work for a loop. An object, so that it can travel as one word.
class LoopWork {
    /// Runs on the loop's thread.
    func run(on loop: EventLoop) {}
    /// The loop is gone: release whoever waits. Any thread.
    func reject() {}
}

/// Work given as a closure.
final class ClosureWork: LoopWork {
    private let body: (EventLoop) -> Void
    init(_ body: @escaping (EventLoop) -> Void) { self.body = body }
    override func run(on loop: EventLoop) { body(loop) }
}

/// Work that somebody outside the library gave.
final class ExecuteWork: LoopWork {
    private let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    override func run(on loop: EventLoop) { body() }
}

/// A question to the loop that somebody awaits.
final class QuestionWork<Answer: Sendable>: LoopWork {
    private let continuation: UnsafeContinuation<Answer?, Never>
    private let body: (EventLoop) -> Answer
    init(_ continuation: UnsafeContinuation<Answer?, Never>, _ body: @escaping (EventLoop) -> Answer) {
        self.continuation = continuation
        self.body = body
    }
    override func run(on loop: EventLoop) { continuation.resume(returning: body(loop)) }
    override func reject() { continuation.resume(returning: nil) }
}
