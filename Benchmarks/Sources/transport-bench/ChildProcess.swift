import Foundation

/// A child started with posix_spawn.
///
/// Not Foundation's Process: that starts helper threads whose processor binding and CPU time would blur the measurement.
struct ChildProcess {
    let pid: pid_t
    /// The reading end of the child's standard output.
    let output: Int32

    init(pid: pid_t, output: Int32) {
        self.pid = pid
        self.output = output
    }

    init(executable: String, arguments: [String], errorPath: String) throws {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw BenchError("pipe: \(String(cString: strerror(errno)))") }
        defer { close(ends[1]) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errorPath, O_WRONLY | O_CREAT | O_TRUNC, 0o600)

        // A worker thread of the concurrency pool blocks all signals: a child that inherited that would not hear SIGTERM.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

        var argv: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) }
        argv.append(nil)
        defer { for argument in argv { free(argument) } }
        var pid: pid_t = 0
        let error = posix_spawn(&pid, executable, &actions, &attributes, argv, environ)
        guard error == 0 else {
            close(ends[0])
            throw BenchError("\(executable): \(String(cString: strerror(error)))")
        }
        self.init(pid: pid, output: ends[0])
    }

    /// Takes the exit status. Returns whether the child is gone.
    func reap(wait: Bool) -> Bool {
        waitpid(pid, nil, wait ? 0 : WNOHANG) != 0
    }
}

/// The path of an executable in the same folder as this one.
func siblingExecutable(_ name: String) throws -> String {
    guard let own = Bundle.main.executableURL else { throw BenchError("the path of this executable is unknown") }
    let path = own.deletingLastPathComponent().appendingPathComponent(name).path
    guard access(path, X_OK) == 0 else {
        throw BenchError("\(path) is missing: build all products with `swift build -c release`")
    }
    return path
}
