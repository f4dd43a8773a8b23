import Glibc
import Synchronization
import TransportTesting

/// The time of the run: the machine's, or that of the simulated network it is in.
enum Clock {
    /// The network of this process, while there is one. Set before anything of a run begins, and taken back behind its end.
    nonisolated(unsafe) static var network: SimulatedNetwork?

    static var microseconds: UInt64 {
        if let network { return UInt64(network.elapsed / .microseconds(1)) }
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_nsec) / 1_000
    }

    /// Ends early for a task that is cancelled.
    static func sleep(_ duration: Duration) async {
        if let network {
            try? await network.clock.sleep(for: duration)
        } else {
            try? await Task.sleep(for: duration)
        }
    }
}
