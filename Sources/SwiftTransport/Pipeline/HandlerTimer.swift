/// Work of a handler for a later time: see ``ChannelContext/schedule(after:_:)``. It is the loop's, as the handler is, and the
/// compiler lets it go nowhere else.
public struct HandlerTimer {
    private let timer: ContextTimer

    fileprivate init(_ timer: ContextTimer) { self.timer = timer }

    /// Takes it back. True when it had neither been called nor been taken back, by a removal of the handler for instance. What
    /// the closure holds is let go of at once.
    @discardableResult
    public func cancel() -> Bool { timer.cancel() }
}

extension ChannelContext {
    /// Calls `body` with this context once `delay` is over, never early, late by at most a millisecond and what the turn takes.
    ///
    ///     func channelActive(_ context: ChannelContext) {
    ///         greeting = context.schedule(after: .seconds(5)) { $0.close() }
    ///     }
    ///     func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { greeting?.cancel() }
    ///
    /// It runs on the channel's loop, so it may use the handler and whatever else is the loop's. Not when the handler has left the
    /// pipeline by then, which every handler does when its channel closes: what it holds is let go of with the handler. If there
    /// is no memory for the timer, the channel fails with `.outOfMemory`, because nothing would happen when its time is over.
    @discardableResult
    public func schedule(after delay: Duration, _ body: @escaping (ChannelContext) -> Void) -> HandlerTimer {
        schedule(eventLoop.exactTime.advanced(by: delay), body)
    }

    /// Calls `body` with this context at `instant`, soon if that is over, and otherwise as ``schedule(after:_:)``.
    @discardableResult
    public func schedule(at instant: EventLoop.Instant, _ body: @escaping (ChannelContext) -> Void) -> HandlerTimer {
        schedule(instant.nanoseconds, body)
    }

    private func schedule(_ deadline: UInt64, _ body: @escaping (ChannelContext) -> Void) -> HandlerTimer {
        assertOnLoop()
        let timer = ContextTimer(body)
        timer.start(for: self, at: deadline)
        return HandlerTimer(timer)
    }

    /// Calls `body` with this context soon, when the present calls have returned: behind what was given to the loop before, in the
    /// order of the calls. Not when the handler has left the pipeline by then.
    ///
    /// - Returns: false when it will not be called, because the handler has left the pipeline or there is no memory for it.
    @discardableResult
    public func execute(_ body: @escaping (ChannelContext) -> Void) -> Bool {
        assertOnLoop()
        return own.place == .taken && eventLoop.post(ContextWork(self, body))
    }

    /// The handler leaves.
    func cancelTimers() {
        while let timer = own.firstTimer { timer.cancel() }
    }
}

/// The timer behind a ``HandlerTimer``. On the list of its context while it is armed, so that it goes with the handler; the two
/// keep each other until then. The loop's thread only.
final class ContextTimer: LoopTimer {
    private var body: ((ChannelContext) -> Void)?
    private var context: ChannelContext?
    private var previous: ContextTimer?
    private var next: ContextTimer?

    fileprivate init(_ body: @escaping (ChannelContext) -> Void) { self.body = body }

    fileprivate func start(for context: ChannelContext, at deadline: UInt64) {
        guard context.own.place == .taken else {
            body = nil
            return
        }
        do throws(TransportError) {
            try arm(on: context.eventLoop, at: deadline)
            join(context)
        } catch {
            body = nil
            context.channel.fail(error)
        }
    }

    @discardableResult
    fileprivate func cancel() -> Bool {
        guard let context else { return false }
        disarm(on: context.eventLoop)
        leave()
        body = nil
        return true
    }

    override func fired() { end() }
    /// Never while a handler has its place, because a loop ends behind its last channel.
    override func dropped() { cancel() }

    private func end() {
        guard let context else { return }
        leave()
        let body = body
        self.body = nil
        body?(context)
    }

    private func join(_ context: ChannelContext) {
        self.context = context
        next = context.own.firstTimer
        next?.previous = self
        context.own.firstTimer = self
    }

    private func leave() {
        if let previous { previous.next = next } else { context?.own.firstTimer = next }
        next?.previous = previous
        previous = nil
        next = nil
        context = nil
    }
}

/// Work of a handler that is soon to be done.
private final class ContextWork: LoopWork {
    private let context: ChannelContext
    private let body: (ChannelContext) -> Void

    init(_ context: ChannelContext, _ body: @escaping (ChannelContext) -> Void) {
        self.context = context
        self.body = body
    }

    override func run(on loop: EventLoop) {
        if context.own.place == .taken { body(context) }
    }

    /// Its closure may be freed on no other thread.
    override var mustArrive: Bool { false }
}
