internal import CTransport

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
