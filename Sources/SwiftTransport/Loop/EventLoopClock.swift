internal import Synchronization

/// The time of a loop as a `Clock`: see ``EventLoop/clock``.
///
/// Who sleeps waits in the loop's timers, not in those of the Swift runtime: a task that is on the loop stays there. It wakes never
/// early, and late by at most a millisecond and what the turn takes, whatever tolerance it allows. Cancelled, it wakes at once with
/// `CancellationError`, and its timer is taken out.
///
///     let clock = connection.channel.eventLoop.clock
///     var next = clock.now
///     while !connection.isShuttingDown {
///         next += .seconds(1)
///         try await Task.sleep(until: next, clock: clock)
///         try await connection.send("tick\n")
///     }
public struct EventLoopClock: Clock {
    /// A moment of its time.
    public typealias Instant = EventLoop.Instant

    /// The loop whose time it tells.
    public let eventLoop: EventLoop

    init(eventLoop: EventLoop) { self.eventLoop = eventLoop }

    /// The time by now, to the nanosecond. Within a turn later than ``EventLoop/now``. Any thread.
    public var now: Instant { Instant(nanoseconds: eventLoop.exactTime) }

    /// A timer is this exact.
    public var minimumResolution: Duration { .milliseconds(1) }

    /// Returns when it is `deadline`. Any task.
    ///
    /// - Parameters:
    ///   - deadline: when to wake; one that is over ends the present turn.
    ///   - tolerance: is not used.
    /// - Throws: `CancellationError` when the task is cancelled; a ``TransportError``, `.loopShutDown` when the loop ends first or has
    ///   ended, `.outOfMemory` when there is none for the timer.
    public func sleep(until deadline: Instant, tolerance: Duration? = nil) async throws {
        let sleeper = Sleeper(eventLoop, deadline.nanoseconds)
        try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { sleeper.begin($0) }
        } onCancel: {
            sleeper.wake()
        }
    }
}

/// A task that sleeps.
private final class Sleeper: RemoteTimer, @unchecked Sendable {
    private let continuation = Mutex<UnsafeContinuation<Void, any Error>?>(nil)

    /// Any thread.
    func begin(_ continuation: UnsafeContinuation<Void, any Error>) {
        self.continuation.withLock { $0 = continuation }
        // Either this sees the cancellation, or the cancellation sees the continuation.
        if isCancelled { end(CancellationError()) } else { arm() }
    }

    /// The task is cancelled. Any thread.
    func wake() {
        if cancel() { end(CancellationError()) }
    }

    override func ended(_ error: TransportError?) { end(error) }

    /// Once, whoever comes first.
    private func end(_ error: (any Error)?) {
        let continuation = continuation.withLock { $0.take() }
        if let error { continuation?.resume(throwing: error) } else { continuation?.resume() }
    }
}
