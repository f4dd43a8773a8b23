internal import SwiftTransport
internal import Synchronization

/// The time of a ``SimulatedNetwork``: begins with zero, and passes only when nobody has anything to do.
public struct SimulatedClock: Clock, Sendable {
    /// A point of the network's time.
    public struct Instant: InstantProtocol {
        /// Since the network began.
        public var offset: Duration

        /// The moment `duration` later, or earlier if that is negative.
        public func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
        /// How long it is from here to `other`; negative when that is earlier.
        public func duration(to other: Instant) -> Duration { other.offset - offset }
        /// Which of two is earlier.
        public static func < (one: Instant, other: Instant) -> Bool { one.offset < other.offset }
    }

    private let scheduler: Scheduler

    init(_ scheduler: Scheduler) { self.scheduler = scheduler }

    /// The time by now.
    public var now: Instant { Instant(offset: scheduler.elapsed) }
    /// It is exact.
    public var minimumResolution: Duration { .nanoseconds(1) }

    /// Waits until `deadline`. A task that is cancelled does not wait any longer, nor does one that is left over when the run has
    /// ended: both get a `CancellationError`.
    public func sleep(until deadline: Instant, tolerance: Duration? = nil) async throws {
        try Task.checkCancellation()
        guard scheduler.isInside else { throw CancellationError() }
        let sleep = Sleep()
        try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { continuation in
                sleep.begin(continuation)
                scheduler.wake(at: scheduler.time(of: deadline.offset)) { sleep.end($0 ? nil : CancellationError()) }
                if Task.isCancelled { sleep.end(CancellationError()) }
            }
        } onCancel: {
            sleep.end(CancellationError())
        }
    }

    /// Ended by the time, or by who cancels the task, on whatever thread.
    private final class Sleep: Sendable {
        private let continuation = Mutex<UnsafeContinuation<Void, any Error>?>(nil)

        func begin(_ continuation: UnsafeContinuation<Void, any Error>) {
            self.continuation.withLock { $0 = continuation }
        }

        func end(_ error: (any Error)?) {
            let continuation = continuation.withLock { $0.take() }
            if let error { continuation?.resume(throwing: error) } else { continuation?.resume() }
        }
    }
}

extension Duration {
    /// Clamped; nothing below zero.
    var nanoseconds: UInt64 {
        // Half of what there is: a time of the world is added to it.
        min(.max / 2, UInt64(0).advanced(by: self))
    }
}
