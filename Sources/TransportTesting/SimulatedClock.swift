/// The time of a ``SimulatedNetwork``: begins with zero, and passes only when nobody has anything to do.
public struct SimulatedClock: Clock, Sendable {
    /// A point of the network's time.
    public struct Instant: InstantProtocol {
        /// Since the network began.
        public var offset: Duration

        public func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
        public func duration(to other: Instant) -> Duration { other.offset - offset }
        public static func < (one: Instant, other: Instant) -> Bool { one.offset < other.offset }
    }

    private let scheduler: Scheduler

    init(_ scheduler: Scheduler) { self.scheduler = scheduler }

    public var now: Instant { Instant(offset: scheduler.elapsed) }
    public var minimumResolution: Duration { .nanoseconds(1) }

    /// Waits until `deadline`. A task that is cancelled does not wait any longer, nor does one that is left over when the run has
    /// ended: both get a `CancellationError`.
    public func sleep(until deadline: Instant, tolerance: Duration? = nil) async throws {
        try Task.checkCancellation()
        guard scheduler.isInside else { throw CancellationError() }
        let sleep = Sleep()
        await withTaskCancellationHandler {
            await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
                sleep.continuation = continuation
                scheduler.wake(at: scheduler.time(of: deadline.offset)) { sleep.end() }
                if Task.isCancelled { sleep.end() }
            }
        } onCancel: {
            sleep.end()
        }
        try Task.checkCancellation()
    }

    /// All of it happens on the network's thread.
    private final class Sleep: @unchecked Sendable {
        var continuation: UnsafeContinuation<Void, Never>?

        func end() {
            continuation?.resume()
            continuation = nil
        }
    }
}

extension Duration {
    /// Clamped; nothing below zero.
    var nanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max / 2 : min(.max / 2, whole + UInt64(attoseconds / 1_000_000_000))
    }
}
