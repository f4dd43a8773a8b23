internal import Synchronization

/// A timer that any thread may arm and take back. What is not marked otherwise belongs to the loop's thread.
class RemoteTimer: LoopTimer, @unchecked Sendable {
    private enum State: UInt8, AtomicRepresentable { case waiting, cancelled, done }

    final let loop: EventLoop
    private final let deadline: UInt64
    // Any thread. Who changes it says how the timer ends.
    private final let state = Atomic<State>(.waiting)

    init(_ loop: EventLoop, _ deadline: UInt64) {
        self.loop = loop
        self.deadline = deadline
    }

    /// Its time has come, or with an error: it never will. Once, and not when it was taken back. On the loop's thread, or that of
    /// the caller whose loop never got the timer.
    func ended(_ error: TransportError?) {}
    /// It was taken back: what it holds is for nobody.
    func letGo() {}

    /// Any thread.
    final func arm() {
        if loop.isCurrent { armNow() } else { loop.post(ArmWork(self)) }
    }

    /// Takes it back. True when ``ended(_:)`` has not been called and will not be. Any thread.
    final func cancel() -> Bool {
        guard leave(.cancelled) else { return false }
        if loop.isCurrent { cancelNow() } else { loop.post(ClosureWork { _ in self.cancelNow() }) }
        return true
    }

    /// Any thread.
    final var isCancelled: Bool { state.load(ordering: .acquiring) == .cancelled }

    fileprivate final func armNow() {
        guard state.load(ordering: .acquiring) == .waiting else { return }
        do throws(TransportError) { try arm(on: loop, at: deadline) } catch { end(error) }
    }

    private final func cancelNow() {
        disarm(on: loop)
        letGo()
    }

    override final func fired() { end(nil) }
    override final func dropped() { end(TransportError(.loopShutDown)) }

    fileprivate final func end(_ error: TransportError?) {
        if leave(.done) { ended(error) } else { letGo() }
    }

    private final func leave(_ next: State) -> Bool {
        state.compareExchange(expected: .waiting, desired: next, ordering: .acquiringAndReleasing).exchanged
    }
}

/// Brings a timer to its loop.
private final class ArmWork: LoopWork {
    private let timer: RemoteTimer
    init(_ timer: RemoteTimer) { self.timer = timer }
    override func run(on loop: EventLoop) { timer.armNow() }
    override func reject(_ why: TransportError.Code) { timer.end(TransportError(why)) }
    override var mustArrive: Bool { false }
}
