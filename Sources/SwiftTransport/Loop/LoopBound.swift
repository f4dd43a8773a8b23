internal import CTransport

/// A value of one loop, in a wrapper that may go anywhere: whoever has it may hand it on, but only the loop's own thread gets at
/// the value. That makes state that is not `Sendable`, such as a handler's, reach a `@Sendable` closure without a lock.
///
///     let me = LoopBound(self, in: context)
///     database.look(up: name) { row in                                         // on some thread
///         me.eventLoop.execute { me.withValue { $0.found(row) } }              // back on the loop
///     }
///
/// One value, however many have the wrapper, and lent for the length of a call: what changes is an object's. It is freed on its loop, wherever the last of them lets go; when the loop has ended,
/// behind everything else the loop still had to do.
public final class LoopBound<Value>: @unchecked Sendable {
    /// The loop whose thread may use the value. Any thread may ask.
    public let eventLoop: EventLoop
    private let content: LoopBoundContent<Value>

    /// Gives `value` away to `eventLoop`. Any thread.
    public init(_ value: sending Value, on eventLoop: EventLoop) {
        self.eventLoop = eventLoop
        content = LoopBoundContent(value)
    }

    /// Wraps what belongs to the loop of `context` already, such as a handler or what it shares with others.
    public init(_ value: Value, in context: ChannelContext) {
        eventLoop = context.eventLoop
        content = LoopBoundContent(value)
    }

    /// Calls `body` with the value, which the compiler lets go nowhere else. The loop's thread only: elsewhere it stops the program.
    public func withValue<Answer: Sendable, Failure: Error>(
        _ body: @Sendable (Value) throws(Failure) -> Answer
    ) throws(Failure) -> Answer {
        eventLoop.requireOnLoop("LoopBound.withValue(_:)")
        return try body(content.value!)
    }

    deinit {
        if eventLoop.isCurrent { return content.free() }
        content.executor = eventLoop.executor
        eventLoop.post(content)
    }
}

/// What a ``LoopBound`` holds, and the work that frees it. Empty only when nobody has the wrapper any more.
private final class LoopBoundContent<Value>: LoopWork, @unchecked Sendable {
    var value: Value?
    /// The loop's, when the wrapper is gone.
    var executor: LoopTaskExecutor?

    init(_ value: Value) { self.value = value }

    override func run(on loop: EventLoop) { free() }
    /// Behind everything else of the loop that has ended.
    override func reject(_ why: TransportError.Code) {
        guard let executor else { return }
        executor.late.run(on: executor) { self.free() }
    }

    func free() { value = nil }
}
