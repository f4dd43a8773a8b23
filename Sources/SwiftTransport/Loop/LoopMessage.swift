internal import CTransport

/// What travels through a loop's mailbox: a piece of work, or a job of the Swift concurrency runtime.
///
/// Jobs are tagged with the executor they came through, because the loop must run each with the matching
/// `runSynchronously`: a mismatch makes the runtime enqueue it again.
enum LoopMessage: UInt64 {
    case work = 0
    case serialJob = 1
    case taskJob = 2

    /// The work in a message, with the reference that was the message's.
    static func takeWork(_ word: UnsafeMutableRawPointer) -> LoopWork {
        Unmanaged<LoopWork>.fromOpaque(word).takeRetainedValue()
    }

    /// The job in a message.
    static func job(_ word: UnsafeMutableRawPointer) -> UnownedJob { unsafeBitCast(word, to: UnownedJob.self) }
}

extension ct_message {
    /// Holds a reference to `work`, until ``LoopMessage/takeWork(_:)``.
    init(_ work: LoopWork) {
        self.init(kind: LoopMessage.work.rawValue, word: Unmanaged.passRetained(work).toOpaque())
    }

    /// A job is a word of the runtime's.
    init(_ kind: LoopMessage, _ job: UnownedJob) {
        self.init(kind: kind.rawValue, word: unsafeBitCast(job, to: UnsafeMutableRawPointer.self))
    }
}

/// A piece of work for a loop. An object, so that it can travel as one word.
class LoopWork {
    /// Runs on the loop's thread.
    func run(on loop: EventLoop) {}
    /// It will not run: tell whoever waits. Because the loop has shut down or, where ``mustArrive`` is false, because there was
    /// no memory to bring it there. Any thread.
    func reject(_ why: TransportError.Code) {}
    /// Nobody could be told that there was no memory, so it is brought to the loop when there is some; out of its turn, which
    /// is why work whose order counts is refused instead.
    var mustArrive: Bool { true }
}

/// Work given as a closure.
final class ClosureWork: LoopWork {
    private let body: (EventLoop) -> Void
    private let otherwise: (() -> Void)?

    /// - Parameter otherwise: called instead, on any thread, when the loop has ended, perhaps long after the post: the work may have
    ///   waited for memory until then.
    init(_ body: @escaping (EventLoop) -> Void, otherwise: (() -> Void)? = nil) {
        self.body = body
        self.otherwise = otherwise
    }
    override func run(on loop: EventLoop) { body(loop) }
    override func reject(_ why: TransportError.Code) { otherwise?() }
}

/// Work that somebody outside the library gave.
final class ExecuteWork: LoopWork {
    private let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    override func run(on loop: EventLoop) { body() }
    override var mustArrive: Bool { false }
}

/// A question to the loop that somebody awaits.
final class QuestionWork<Answer: Sendable>: LoopWork {
    private let continuation: UnsafeContinuation<Result<Answer, TransportError>, Never>
    private let body: () -> Answer
    init(
        _ continuation: UnsafeContinuation<Result<Answer, TransportError>, Never>, _ body: @escaping () -> Answer
    ) {
        self.continuation = continuation
        self.body = body
    }
    override func run(on loop: EventLoop) { continuation.resume(returning: .success(body())) }
    override func reject(_ why: TransportError.Code) { continuation.resume(returning: .failure(TransportError(why))) }
    override var mustArrive: Bool { false }
}
