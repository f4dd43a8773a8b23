internal import Synchronization

/// Work that is to run at a later time: see ``EventLoop/schedule(after:_:otherwise:)``. Any thread may hold and cancel it.
public struct ScheduledTask: Sendable {
    private let timer: ScheduledTimer

    init(
        loop: EventLoop, deadline: UInt64, body: @escaping @Sendable () -> Void,
        otherwise: (@Sendable (TransportError) -> Void)?
    ) {
        timer = ScheduledTimer(loop, deadline, body, otherwise)
    }

    /// The loop it runs on.
    public var eventLoop: EventLoop { timer.loop }

    /// Takes it back. True when neither of its closures has been called or will be. What they hold is released at once on the
    /// loop's thread, else as soon as the loop gets to it: a cancelled timer keeps nothing alive.
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
    @exclusivity(unchecked) private var otherwise: (@Sendable (TransportError) -> Void)?

    init(
        _ loop: EventLoop, _ deadline: UInt64, _ body: @escaping @Sendable () -> Void,
        _ otherwise: (@Sendable (TransportError) -> Void)?
    ) {
        self.loop = loop
        self.deadline = deadline
        self.body = body
        self.otherwise = otherwise
    }

    /// Any thread.
    func arm() {
        if loop.isCurrent { armNow() } else { loop.post(ArmWork(self)) }
    }

    fileprivate func armNow() {
        guard state.load(ordering: .acquiring) == .waiting else { return }
        do throws(TransportError) { try arm(on: loop, at: deadline) } catch { end(error) }
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
        otherwise = nil
    }

    override func fired() { end(nil) }
    override func dropped() { end(TransportError(.loopShutDown)) }

    /// Calls the one or the other, unless it was cancelled, and lets go of both. The loop's thread, or that of the caller whose
    /// loop never got the timer.
    fileprivate func end(_ error: TransportError?) {
        let (body, otherwise) = (body, otherwise)
        self.body = nil
        self.otherwise = nil
        guard leave(.done) else { return }
        if let error { otherwise?(error) } else { body?() }
    }

    private func leave(_ next: State) -> Bool {
        state.compareExchange(expected: .waiting, desired: next, ordering: .acquiringAndReleasing).exchanged
    }
}

/// Brings a timer to its loop.
private final class ArmWork: LoopWork {
    private let timer: ScheduledTimer
    init(_ timer: ScheduledTimer) { self.timer = timer }
    override func run(on loop: EventLoop) { timer.armNow() }
    override func reject(_ why: TransportError.Code) { timer.end(TransportError(why)) }
    override var mustArrive: Bool { false }
}
