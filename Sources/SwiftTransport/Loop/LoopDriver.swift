internal import CTransport

/// Makes loops and gives them their turns where they have no threads of their own: in a simulated network. Its thread's business.
package final class LoopDriver {
    private let make: (Int, LoopOptions) throws(TransportError) -> EventLoop
    private let visit: (EventLoop) -> Void
    private let wait: (Duration, @escaping () -> Void) -> Void
    /// Of this network alone: what one has not delivered when it ends is nobody's, and other networks do not wait for it.
    let undelivered = Undelivered()

    /// - Parameters:
    ///   - make: makes a loop, as ``SteppedLoop`` does, and keeps it until it has finished.
    ///   - visit: what the present job does from here on, it does on the machine of this loop.
    ///   - wait: does something after some of the network's time.
    package init(
        make: @escaping (Int, LoopOptions) throws(TransportError) -> EventLoop, visit: @escaping (EventLoop) -> Void,
        wait: @escaping (Duration, @escaping () -> Void) -> Void
    ) {
        self.make = make
        self.visit = visit
        self.wait = wait
    }

    /// What a kernel keeps for ``current``. Whoever has it keeps the driver alive.
    package var pointer: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    /// That of the calling thread, if it is in a simulated network.
    static var current: LoopDriver? {
        ct_kernel_driver().map { Unmanaged<LoopDriver>.fromOpaque($0).takeUnretainedValue() }
    }

    func makeLoop(index: Int, options: LoopOptions) throws(TransportError) -> EventLoop { try make(index, options) }

    func wait(_ duration: Duration, _ body: @escaping () -> Void) { wait(duration, body) }

    /// Before sockets are made for a loop elsewhere than on it.
    static func visit(_ loop: EventLoop) { current?.visit(loop) }
}

/// A loop that somebody else gives its turns.
package final class SteppedLoop {
    package let loop: EventLoop
    private var turns: EventLoop.Turns
    /// Its last turn is over; nothing of it is left.
    package private(set) var hasFinished = false

    /// Makes and starts a loop.
    package init(index: Int, options: LoopOptions) throws(TransportError) {
        loop = try EventLoop(index: index, options: options)
        // Behind what may fail: nobody would give their memory back.
        turns = EventLoop.Turns()
        ct_loop_enter(loop.core, loop.context)
        defer { ct_loop_leave(loop.core) }
        try loop.start()
    }

    deinit { turns.deallocate() }

    /// One turn. False when nothing happened in it, no event, no work, no task, although it was not to be waited for any.
    package func step() -> Bool {
        ct_loop_enter(loop.core, loop.context)
        let before = happened
        loop.takeTurn(&turns)
        guard loop.hasFinished else {
            defer { ct_loop_leave(loop.core) }
            return happened != before || ct_loop_now(loop.core) < turns.spinEnd
        }
        // It leaves the thread itself.
        loop.finish(turns.messages)
        hasFinished = true
        return true
    }

    /// Events, pieces of work and tasks.
    private var happened: UInt64 {
        let counts = ct_loop_statistics_of(loop.core)
        return counts.pointee.events &+ counts.pointee.messages
    }

    /// Between two turns: does something as the loop would. The next turn is due then.
    package func withLoop<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        ct_loop_enter(loop.core, loop.context)
        defer { ct_loop_leave(loop.core) }
        return try body()
    }

    /// Ends the loop. Default: without waiting for anything.
    package func shutDown(within duration: Duration = .zero) { loop.beginShutdown(LoopShutdown(), within: duration) }
}
