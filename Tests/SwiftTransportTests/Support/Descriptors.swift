import Glibc
import Testing

/// Lowers what this process may open. For exit tests only: in the common process it would disturb everybody.
enum Descriptors {
    /// Leaves room for exactly `count` more descriptors.
    static func leave(_ count: Int) async throws {
        try await letTheRuntimeOpenItsOwn()
        // The limit is a number, not a count: with the holes below it filled, it is both.
        var last: Int32 = -1
        while true {
            let copy = dup(0)
            precondition(copy >= 0, "no descriptors at all")
            if copy == last + 1, isTop(copy) {
                close(copy)
                setLimit(Int(copy) + count)
                return
            }
            last = copy
        }
    }

    /// libdispatch opens descriptors for its timers in its own good time, and stops the program when it cannot.
    private static func letTheRuntimeOpenItsOwn() async throws {
        try await Task.sleep(for: .milliseconds(1))
        var before = opened
        var unchanged = 0
        try await eventually("the runtime to settle") {
            unchanged = opened == before ? unchanged + 1 : 0
            before = opened
            return unchanged == 20
        }
    }

    private static var opened: [Int32] { (0..<256).filter { fcntl($0, F_GETFD) >= 0 } }

    /// As many as ever allowed.
    static func restore() {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        setLimit(Int(limit.rlim_max))
    }

    private static func setLimit(_ count: Int) {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = rlim_t(count)
        let result = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        precondition(result == 0)
    }

    /// Nothing is open above `descriptor`.
    private static func isTop(_ descriptor: Int32) -> Bool {
        (descriptor + 1..<descriptor + 512).allSatisfy { fcntl($0, F_GETFD) < 0 }
    }
}
