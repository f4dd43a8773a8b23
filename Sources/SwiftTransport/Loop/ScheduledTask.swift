internal import CTransport
internal import Synchronization

/// Something the timing wheel can fire. The wheel holds a reference while it is armed. The loop's thread only.
class LoopTimer {
    @exclusivity(unchecked) private final var handle: ct_timer = 0

    final func arm(on loop: EventLoop, at deadline: UInt64) {
        guard handle == 0, loop.phase != .ended else { return }
        let reference = Unmanaged.passRetained(self)
        handle = ct_timer_arm(loop.core, deadline, reference.toOpaque())
        if handle == 0 { reference.release() }
    }

    final func disarm(on loop: EventLoop) {
        guard handle != 0, loop.phase != .ended else { return }
        if let taken = ct_timer_take(loop.core, handle) { Unmanaged<LoopTimer>.fromOpaque(taken).release() }
        handle = 0
    }

    final var isArmed: Bool { handle != 0 }

    final func fire() {
        handle = 0
        fired()
    }

    func fired() {}
}

/// A timer of the library's own: calls back on the loop's thread.
final class CallbackTimer: LoopTimer {
    private let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
    override func fired() { body() }
}

/// Work that is to run at a later time. Any thread may hold and cancel it.
public final class ScheduledTask: @unchecked Sendable {
    private enum State: UInt8, AtomicRepresentable { case waiting, cancelled, done }

    /// The loop it runs on.
    public let eventLoop: EventLoop
    private let deadline: UInt64
    private let state = Atomic<State>(.waiting)
    // The loop's thread only. The timer owns the body and lets go of it when it fires or is cancelled.
    private var timer: CallbackTimer?
    private let body: Mutex<(@Sendable () -> Void)?>

    init(loop: EventLoop, deadline: UInt64, body: @escaping @Sendable () -> Void) {
        eventLoop = loop
        self.deadline = deadline
        self.body = Mutex(body)
    }

    /// Takes it back. True when it had not run and will not. Any thread; what the closure holds is released at once on
    /// the loop's thread, else as soon as the loop gets to it.
    @discardableResult
    public func cancel() -> Bool {
        guard state.compareExchange(expected: .waiting, desired: .cancelled, ordering: .acquiringAndReleasing).exchanged
        else { return false }
        body.withLock { $0 = nil }
        if eventLoop.isCurrent {
            disarm()
        } else {
            eventLoop.post(ClosureWork { _ in self.disarm() })
        }
        return true
    }

    func arm() {
        if eventLoop.isCurrent {
            armOnLoop()
        } else {
            eventLoop.post(ClosureWork { _ in self.armOnLoop() })
        }
    }

    private func armOnLoop() {
        guard state.load(ordering: .acquiring) == .waiting else { return }
        let timer = CallbackTimer { self.fire() }
        self.timer = timer
        timer.arm(on: eventLoop, at: deadline)
    }

    private func disarm() {
        timer?.disarm(on: eventLoop)
        timer = nil
    }

    private func fire() {
        timer = nil
        guard state.compareExchange(expected: .waiting, desired: .done, ordering: .acquiringAndReleasing).exchanged
        else {
            return
        }
        let work = body.withLock { body in
            defer { body = nil }
            return body
        }
        work?()
    }
}
