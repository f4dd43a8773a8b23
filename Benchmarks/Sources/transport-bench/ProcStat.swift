import Foundation

/// What a process has used, as /proc tells it.
enum ProcStat {
    /// CPU time since the process began.
    struct CPU: Sendable {
        /// On a processor, over all threads: exact, from the scheduler.
        var nanoseconds: UInt64
        /// In user and kernel mode: sampled, in clock ticks. Good for a share, not for a sum.
        var userTicks: UInt64
        var systemTicks: UInt64

        static func - (end: CPU, start: CPU) -> CPU {
            CPU(
                nanoseconds: end.nanoseconds &- start.nanoseconds,
                userTicks: end.userTicks &- start.userTicks,
                systemTicks: end.systemTicks &- start.systemTicks)
        }
    }

    static func cpu(of pid: pid_t) throws -> CPU {
        var nanoseconds: UInt64 = 0
        for thread in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task") {
            // A thread may end between listing and reading.
            guard let line = try? read("/proc/\(pid)/task/\(thread)/schedstat") else { continue }
            nanoseconds += line.split(separator: " ").first.flatMap { UInt64($0) } ?? 0
        }
        // The name, in parentheses, may hold spaces: fields are counted from behind it. State is field 3.
        let stat = try read("/proc/\(pid)/stat")
        let fields = stat[(stat.lastIndex(of: ")") ?? stat.startIndex)...].split(separator: " ").dropFirst()
        let numbers = Array(fields)
        guard numbers.count > 12, let user = UInt64(numbers[11]), let system = UInt64(numbers[12]) else {
            throw BenchError("/proc/\(pid)/stat is not understood")
        }
        return CPU(nanoseconds: nanoseconds, userTicks: user, systemTicks: system)
    }

    /// Memory once a server has nothing left to do: a connection counts for us before the server has accepted it.
    static func settledMemory(of pid: pid_t) throws -> UInt64 {
        let busyMicroseconds = 500.0
        var last = try cpu(of: pid).nanoseconds
        for _ in 0..<100 {
            usleep(50_000)
            let now = try cpu(of: pid).nanoseconds
            if Double(now &- last) / 1000 < busyMicroseconds { break }
            last = now
        }
        return try anonymousMemory(of: pid)
    }

    /// Bytes of anonymous memory: what the process itself has written to, without shared code and file pages.
    static func anonymousMemory(of pid: pid_t) throws -> UInt64 {
        for line in try read("/proc/\(pid)/smaps_rollup").split(separator: "\n") where line.hasPrefix("Anonymous:") {
            let kibibytes = line.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }
            if let kibibytes { return kibibytes * 1024 }
        }
        throw BenchError("/proc/\(pid)/smaps_rollup has no Anonymous line")
    }

    private static func read(_ path: String) throws -> String {
        try String(contentsOfFile: path, encoding: .utf8)
    }
}
