import Glibc

/// A run of one seed in a process of its own: it may be stopped by a broken invariant, or never end.
struct Trial: Sendable {
    /// What is wrong, without the numbers that differ from run to run; empty when nothing is.
    var kinds: [String] = []
    /// Everything it said.
    var output = ""

    /// - Parameter seconds: after which it does not end.
    init(seed: UInt64, _ recipe: Recipe, isRepeated: Bool, seconds: Int) {
        let path = "/tmp/torture-\(getpid()).trial"
        defer { unlink(path) }
        var arguments = ["--seeds", "\(seed)-\(seed)"] + recipe.arguments
        if isRepeated { arguments += ["--repeated", "yes"] }
        let child = Child(arguments, output: path)
        let limit = ContinuousClock.now + .seconds(seconds)
        let end = child.wait { ContinuousClock.now > limit }
        output = Self.read(path)
        kinds = Self.kinds(of: end, output)
    }

    /// The same, of a child whose output went elsewhere.
    static func kinds(of end: Child.End, _ output: String) -> [String] {
        switch end {
        case .exited(0): return []
        case .late: return ["does not end"]
        case .signalled(let number):
            let marks = ["broken invariant", "Fatal error", "rror:"]
            let said = output.split(separator: "\n").last { line in marks.contains { line.contains($0) } }
            return ["stops: \(plain(said ?? "signal \(number)"))"]
        case .exited:
            let found = output.split(separator: "\n").compactMap(kind)
            return found.isEmpty ? ["fails"] : found
        }
    }

    /// What a line of a report complains of.
    private static func kind(_ line: Substring) -> String? {
        if line.hasPrefix("HANG") { return "hangs" }
        if line.hasPrefix("LEAK") { return "leaks" }
        if line.hasSuffix(" still alive") { return "leaves something alive" }
        if line.hasPrefix("a second run was another") { return "a second run is another" }
        if line.hasPrefix("with seed ") { return plain(line.prefix(100)) }
        // BAD seed 7: what it is: its details
        let parts = line.split(separator: ":", maxSplits: 2)
        return line.hasPrefix("BAD seed") && parts.count > 1 && !parts[0].contains(",") ? plain(parts[1]) : nil
    }

    private static func plain(_ text: some StringProtocol) -> String {
        String(text.drop { $0 == " " }.map { $0.isNumber ? "#" : $0 })
    }

    private static func read(_ path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = fread(&part, 1, part.count, file), count > 0 { bytes += part[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// This program once more.
struct Child {
    enum End: Equatable {
        case exited(Int32)
        case signalled(Int32)
        case late
    }

    private let process: pid_t

    /// - Parameter output: a file for what it says; `nil`: where this process says it.
    init(_ arguments: [String], output: String? = nil) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let output {
            posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            posix_spawn_file_actions_adddup2(&actions, 1, 2)
        }
        // A backtrace takes minutes, and says nothing that the last events do not.
        setenv("SWIFT_BACKTRACE", "enable=no", 0)
        let words = (["torture"] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var process = pid_t()
        let result = posix_spawn(&process, "/proc/self/exe", &actions, nil, words, environ)
        guard result == 0 else { fatalError("posix_spawn of /proc/self/exe: errno \(result)") }
        self.process = process
    }

    /// - Parameter isLate: asked again and again; true kills it.
    func wait(isLate: () -> Bool) -> End {
        while true {
            var status: Int32 = 0
            if waitpid(process, &status, WNOHANG) == process {
                return status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .signalled(status & 0x7F)
            }
            if isLate() {
                kill(process, SIGKILL)
                waitpid(process, &status, 0)
                return .late
            }
            usleep(2000)
        }
    }
}
