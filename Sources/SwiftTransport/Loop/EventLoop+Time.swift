internal import CTransport

// What time it is on a loop, and what is to be done later.
extension EventLoop {
    /// A moment in the time of a loop, which never goes back: nanoseconds of the system's monotonic clock. To be compared with
    /// moments of loops of the same group.
    ///
    /// Where a sum would lie outside of what can be told, half a thousand years, it is the nearest moment that can.
    public struct Instant: InstantProtocol, Hashable, Sendable {
        let nanoseconds: UInt64

        /// The moment `duration` later, or earlier if that is negative.
        public func advanced(by duration: Duration) -> Instant { moved(by: duration.wholeNanoseconds) }

        /// How long it is from here to `other`; negative when that is earlier.
        public func duration(to other: Instant) -> Duration {
            let nanoseconds = Int128(other.nanoseconds) - Int128(nanoseconds)
            return Duration(attoseconds: nanoseconds * Duration.attosecondsPerNanosecond)
        }

        private func moved(by distance: Int128) -> Instant {
            let moment = Int128(nanoseconds) + distance
            return Instant(nanoseconds: UInt64(min(max(moment, 0), Int128(Instant.end.nanoseconds))))
        }

        /// The last one: the core takes `UINT64_MAX` for no moment at all.
        private static let end = Instant(nanoseconds: UInt64.max - 1)

        /// Which of two is earlier.
        public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

        /// The moment `duration` later.
        public static func + (instant: Instant, duration: Duration) -> Instant { instant.advanced(by: duration) }

        /// The moment `duration` earlier.
        public static func - (instant: Instant, duration: Duration) -> Instant {
            instant.moved(by: -duration.wholeNanoseconds)
        }

        /// How long `left` is behind `right`.
        public static func - (left: Instant, right: Instant) -> Duration { right.duration(to: left) }

        /// To the moment `duration` later.
        public static func += (instant: inout Instant, duration: Duration) { instant = instant + duration }

        /// To the moment `duration` earlier.
        public static func -= (instant: inout Instant, duration: Duration) { instant = instant - duration }
    }

    /// The time of the present turn, read once per turn: costs nothing to ask, and stays the same until the turn is over. Elsewhere
    /// than on the loop's thread it is that of ``clock``.
    public var now: Instant { Instant(nanoseconds: turnTime) }

    /// A clock that tells this loop's time and sleeps on its timers.
    ///
    ///     try await Task.sleep(for: .milliseconds(20), clock: channel.eventLoop.clock)
    public var clock: EventLoopClock { EventLoopClock(eventLoop: self) }

    /// The time of the turn, as the core knows it.
    @inline(__always)
    var turnTime: UInt64 { isCurrent ? ct_loop_now(core) : exactTime }

    /// What a delay counts from: a turn may have been going on for a while.
    var exactTime: UInt64 { ct_mailbox_clock(mailbox) }

    // MARK: Later

    /// Runs `body` on the loop's thread once `delay` is over, never early, late by at most a millisecond and what the
    /// turn takes. Any thread.
    ///
    ///     loop.schedule(after: .seconds(5)) { retry() } otherwise: { error in giveUp(error) }
    ///
    /// - Parameters:
    ///   - delay: how long from now.
    ///   - body: what is to be done.
    ///   - otherwise: called once instead of `body` when that will never run: with `.loopShutDown` when the loop ends
    ///     first (after its last channel has closed, on its thread) or has ended already (at once, on this thread), with
    ///     `.outOfMemory` when there is none for the timer. Not when the task is cancelled. Default: nobody is told.
    @discardableResult
    public func schedule(
        after delay: Duration, _ body: @escaping @Sendable () -> Void,
        otherwise: (@Sendable (TransportError) -> Void)? = nil
    ) -> ScheduledTask {
        schedule(exactTime.advanced(by: delay), body, otherwise)
    }

    /// Runs `body` on the loop's thread at `instant`, soon if that is over, and otherwise as ``schedule(after:_:otherwise:)``: what
    /// comes again and again in even steps counts from the instant before.
    ///
    /// - Parameters:
    ///   - instant: when.
    ///   - body: what is to be done.
    ///   - otherwise: called once instead of `body` when that will never run. Default: nobody is told.
    @discardableResult
    public func schedule(
        at instant: Instant, _ body: @escaping @Sendable () -> Void,
        otherwise: (@Sendable (TransportError) -> Void)? = nil
    ) -> ScheduledTask {
        schedule(instant.nanoseconds, body, otherwise)
    }

    private func schedule(
        _ deadline: UInt64, _ body: @escaping @Sendable () -> Void, _ otherwise: (@Sendable (TransportError) -> Void)?
    ) -> ScheduledTask {
        let task = ScheduledTask(loop: self, deadline: deadline, body: body, otherwise: otherwise)
        task.arm()
        return task
    }
}

extension UInt64 {
    /// A point in time `duration` later, in nanoseconds; clamped instead of overflowing. Now, when the duration is negative.
    package func advanced(by duration: Duration) -> UInt64 {
        EventLoop.Instant(nanoseconds: self).advanced(by: Swift.max(duration, Duration.zero)).nanoseconds
    }
}

extension Duration {
    fileprivate static let attosecondsPerNanosecond: Int128 = 1_000_000_000
    fileprivate var wholeNanoseconds: Int128 { attoseconds / Self.attosecondsPerNanosecond }
}
