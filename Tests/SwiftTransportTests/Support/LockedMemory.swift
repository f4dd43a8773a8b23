import Glibc
import Testing

/// Memory that the kernel locks for a process: rings, and the pages of sends without a copy.
enum LockedMemory {
    /// Leaves this process no more than `bytes` of it, as a container does. An administrator could have as much as there
    /// is, so this process is none any more, and a user of its own, because the kernel counts by user. There is no way back.
    static func limit(to bytes: Int) throws {
        var limit = rlimit(rlim_cur: rlim_t(bytes), rlim_max: rlim_t(bytes))
        try #require(setrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &limit) == 0)
        try #require(geteuid() != 0 || setuid(uid_t(1_000_000 + getpid())) == 0)
    }
}
