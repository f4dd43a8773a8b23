import Glibc

/// What the calling thread uses from here to there. Begin and end it on the same thread.
public struct ThreadMeter {
    private let begin: Reading

    /// Begins now.
    public init() {
        begin = Reading()
    }

    /// What was used since the beginning, as the cost of so many operations.
    public func figure(_ name: String, operations: UInt64) -> MicroFigure {
        let end = Reading()
        return MicroFigure(
            name: name, operations: operations,
            cpu: end.cpu - begin.cpu, wall: end.wall - begin.wall,
            userSampled: end.user - begin.user, systemSampled: end.system - begin.system,
            allocations: end.allocations.flatMap { end in begin.allocations.map { end - $0 } })
    }

    private struct Reading {
        // All in nanoseconds.
        var cpu: UInt64, wall: UInt64
        var user: UInt64, system: UInt64
        var allocations: UInt64?

        init() {
            var usage = rusage()
            getrusage(thisThread, &usage)
            user = usage.ru_utime.nanoseconds
            system = usage.ru_stime.nanoseconds
            cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID)
            wall = nanoseconds(CLOCK_MONOTONIC)
            allocations = AllocationCount.ofThread?()
        }
    }
}

// RUSAGE_THREAD, a GNU extension that the module map does not show.
private let thisThread = __rusage_who_t(1)

/// Now, by the monotonic clock.
public func monotonicNanoseconds() -> UInt64 { nanoseconds(CLOCK_MONOTONIC) }

private func nanoseconds(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

extension timeval {
    fileprivate var nanoseconds: UInt64 { UInt64(tv_sec) * 1_000_000_000 + UInt64(tv_usec) * 1000 }
}
