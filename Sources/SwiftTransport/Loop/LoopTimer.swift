internal import CTransport

/// Something the timing wheel can fire. The wheel holds a reference while it is armed. The loop's thread only.
class LoopTimer {
    private final var handle: ct_timer = 0

    /// - Throws: `.outOfMemory`, `.loopShutDown`: it will not fire, and whoever counts on it must say what happens instead.
    final func arm(on loop: EventLoop, at deadline: UInt64) throws(TransportError) {
        guard handle == 0 else { return }
        guard loop.own.phase != .ended else { throw TransportError(.loopShutDown) }
        let reference = Unmanaged.passRetained(self)
        handle = ct_timer_arm(loop.core, deadline, reference.toOpaque())
        guard handle != 0 else {
            reference.release()
            throw TransportError(.outOfMemory)
        }
    }

    /// Back from what the core knows it by, with the reference that was the wheel's.
    static func taken(_ word: UnsafeMutableRawPointer) -> LoopTimer {
        Unmanaged<LoopTimer>.fromOpaque(word).takeRetainedValue()
    }

    final func disarm(on loop: EventLoop) {
        guard handle != 0, loop.own.phase != .ended else { return }
        if let taken = ct_timer_take(loop.core, handle) { Unmanaged<LoopTimer>.fromOpaque(taken).release() }
        handle = 0
    }

    final var isArmed: Bool { handle != 0 }

    final func fire() {
        handle = 0
        fired()
    }

    final func drop() {
        handle = 0
        dropped()
    }

    /// The time has come.
    func fired() {}
    /// The loop has ended first.
    func dropped() {}
}

/// A timer of the library's own, whose owner does not outlive the loop's last channel or attempt: calls back on the loop's
/// thread.
final class CallbackTimer: LoopTimer {
    private let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
    override func fired() { body() }
}
