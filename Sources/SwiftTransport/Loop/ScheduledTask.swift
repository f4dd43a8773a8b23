internal import Synchronization

/// Work that is to run at a later time: see ``EventLoop/schedule(after:_:)``. Any thread may hold and cancel it.
public struct ScheduledTask: Sendable {
    private let timer: ScheduledTimer

    init(loop: EventLoop, deadline: UInt64, body: @escaping @Sendable () -> Void) {
        timer = ScheduledTimer(loop, deadline, body)
    }

    /// The loop it runs on.
    public var eventLoop: EventLoop { timer.loop }

    /// Takes it back. True when it had not run and will not. What the closure holds is released at once on the loop's
    /// thread, else as soon as the loop gets to it: a cancelled timer keeps nothing alive (N10).
    @discardableResult
    public func cancel() -> Bool { timer.cancel() }

    func arm() { timer.arm() }
}

/// The timer behind a ``ScheduledTask``. What is not marked otherwise belongs to the loop's thread.
private final class ScheduledTimer: LoopTimer, @unchecked Sendable {
    private enum State: UInt8, AtomicRepresentable { case waiting, cancelled, done }

    let loop: EventLoop
    private let deadline: UInt64
    // Any thread.
    private let state = Atomic<State>(.waiting)
    @exclusivity(unchecked) private var body: (@Sendable () -> Void)?

    init(_ loop: EventLoop, _ deadline: UInt64, _ body: @escaping @Sendable () -> Void) {
        self.loop = loop
        self.deadline = deadline
        self.body = body
    }

    /// Any thread.
    func arm() {
        if loop.isCurrent { armNow() } else { loop.post(ClosureWork { _ in self.armNow() }) }
    }

    private func armNow() {
        guard state.load(ordering: .acquiring) == .waiting else { return }
        arm(on: loop, at: deadline)
    }

    /// Any thread.
    func cancel() -> Bool {
        guard leave(.cancelled) else { return false }
        if loop.isCurrent { cancelNow() } else { loop.post(ClosureWork { _ in self.cancelNow() }) }
        return true
    }

    private func cancelNow() {
        disarm(on: loop)
        body = nil
    }

    override func fired() {
        let body = body
        self.body = nil
        if leave(.done) { body?() }
    }

    private func leave(_ next: State) -> Bool {
        state.compareExchange(expected: .waiting, desired: next, ordering: .acquiringAndReleasing).exchanged
    }
}
