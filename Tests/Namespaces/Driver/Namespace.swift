import Glibc

/// Network namespaces, made by unshare(1), which then turns into another program.
enum Namespace {
    /// How to start a program in one in which it may do as it likes.
    static func way() throws -> [String] {
        var refusals: [String] = []
        // Who may not may perhaps be root in a user namespace.
        for way in [["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]] {
            do {
                // Whether the kernel has such devices is not written anywhere.
                try Tool.run(way + ["ip", "link", "add", "name", "one", "type", "veth", "peer", "name", "other"])
                return way
            } catch { refusals.append("\(error)") }
        }
        throw Wrong(refusals.joined(separator: "; "))
    }

    /// Makes the new namespace that this process is in fit to be used.
    static func prepare() throws {
        try Tool.run(["ip", "link", "set", "lo", "up"])
        // More connections than the kernel hands out ports for by itself, with those that wait for their time to be over.
        write("1024 65535", to: "/proc/sys/net/ipv4/ip_local_port_range")
        // What is lost is tried again soon, since Linux 6.11: a hole of milliseconds is as black as one of seconds.
        write("20000", to: "/proc/sys/net/ipv4/tcp_rto_min_us")
    }

    /// The path of this program.
    static let program = Lines.target(of: "/proc/self/exe")

    /// A kernel that lacks the file does without.
    static func write(_ text: String, to path: String) {
        guard let file = fopen(path, "we") else { return }
        fputs(text, file)
        fclose(file)
    }
}

/// Other programs: ip(8) and unshare(1).
enum Tool {
    /// Throws unless it ends with 0.
    static func run(_ arguments: [String]) throws {
        let status = Spawn.wait(try Spawn.start(arguments))
        try require(status == 0, "'\(arguments.joined(separator: " "))' ended with \(status)")
    }
}

/// Processes.
enum Spawn {
    /// Starts a program of the PATH, or of this path, with `input` and `output` instead of this process' own.
    static func start(_ arguments: [String], input: Int32? = nil, output: Int32? = nil) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let input { posix_spawn_file_actions_adddup2(&actions, input, 0) }
        if let output { posix_spawn_file_actions_adddup2(&actions, output, 1) }
        var process = pid_t()
        let words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        let result = posix_spawnp(&process, arguments[0], &actions, nil, words, environ)
        guard result == 0 else { throw Wrong(call: arguments[0], result) }
        return process
    }

    /// Two ends, to read and to write, that no other process inherits.
    static func pipe() throws -> [Int32] {
        var ends: [Int32] = [0, 0]
        guard Glibc.pipe(&ends) == 0 else { throw Wrong(call: "pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return ends
    }

    /// The exit status; of a process that was killed, 128 and the signal.
    static func wait(_ process: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + status & 0x7F
    }
}
