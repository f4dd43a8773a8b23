import Glibc
import SwiftTransport

/// A subject, as the driver sees it: what it can be told, and what the kernel says about it without its help.
final class Remote {
    let process: pid_t
    /// Where its servers are.
    private(set) var address = "127.0.0.1"
    /// Where the driver is, for it.
    private(set) var driversAddress = "127.0.0.1"
    /// The two ends of the pair of devices between them.
    private(set) var device = ""
    private(set) var deviceThere = ""
    private let input: Int32
    private let output: Int32
    private var unread: [UInt8] = []
    private var hasEnded = false

    /// A subject in the namespace of the driver or, behind a pair of devices, in one of its own.
    init(_ engine: Engine, beyond number: Int?) throws {
        let toSubject = try Spawn.pipe()
        let fromSubject = try Spawn.pipe()
        (input, output) = (toSubject[1], fromSubject[0])
        defer {
            Glibc.close(toSubject[0])
            Glibc.close(fromSubject[1])
        }
        process = try Spawn.start(
            (number == nil ? [] : ["unshare", "--net"]) + [Namespace.program, "subject", engine.rawValue],
            input: toSubject[0], output: fromSubject[1])
        _ = try answer(to: "its start")
        if let number { try link(number) }
    }

    private func link(_ number: Int) throws {
        device = "here\(number)"
        deviceThere = "there\(number)"
        address = "10.77.\(number).2"
        driversAddress = "10.77.\(number).1"
        try Tool.run(
            ["ip", "link", "add", "name", device, "type", "veth", "peer", "name", deviceThere, "netns", "\(process)"])
        try Tool.run(["ip", "address", "add", "\(driversAddress)/24", "dev", device])
        try Tool.run(["ip", "link", "set", device, "up"])
        try ask("ip link set lo up")
        try ask("ip address add \(address)/24 dev \(deviceThere)")
        try ask("ip link set \(deviceThere) up")
    }

    // MARK: Told

    /// Has it do something, and waits until that is done.
    @discardableResult
    func ask(_ command: String) throws -> Counts {
        let line = Array((command + "\n").utf8)
        guard Glibc.write(input, line, line.count) == line.count else {
            throw Wrong("the subject has ended before '\(command)'")
        }
        return try answer(to: command)
    }

    private func answer(to command: String) throws -> Counts {
        while !unread.contains(UInt8(ascii: "\n")) {
            var ready = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            let result = poll(&ready, 1, Int32(Patience.seconds * 1000))
            try require(result > 0, "no answer to '\(command)'")
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = read(output, &bytes, bytes.count)
            try require(count > 0, "the subject ended instead of answering '\(command)'")
            unread += bytes[..<count]
        }
        let end = unread.firstIndex(of: UInt8(ascii: "\n"))!
        let line = String(decoding: unread[..<end], as: UTF8.self)
        unread.removeSubrange(...end)
        guard line.hasPrefix("ok"), let counts = Counts(line.dropFirst(2)) else { throw Wrong(line) }
        return counts
    }

    func counts() throws -> Counts { try ask("counts") }

    // MARK: Seen from outside

    /// Memory that is in RAM, in bytes.
    var residentBytes: Int {
        let words = Lines.of("/proc/\(process)/statm").first?.split(separator: " ") ?? []
        return words.count > 1 ? (Int(words[1]) ?? 0) * Int(getpagesize()) : 0
    }

    /// How many descriptors are open.
    var descriptorCount: Int { openDescriptors.count }

    /// What its open descriptors are, but for timers: Swift's runtime makes those when it likes, and the library has none.
    var descriptors: [String] {
        openDescriptors.map { Lines.target(of: "/proc/\(process)/fd/\($0)") }.filter { $0 != "anon_inode:[timerfd]" }
    }

    private var openDescriptors: [String] {
        guard let folder = opendir("/proc/\(process)/fd") else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name.0) { String(cString: $0) }
            if name.first != "." { names.append(name) }
        }
        return names
    }

    /// The TCP sockets of its namespace.
    var sockets: [TCPSocket] { TCPSocket.all(process: "\(process)") }

    // MARK: Ends

    /// SIGKILL, in the middle of whatever it does.
    func kill() {
        Glibc.kill(process, SIGKILL)
        collect()
    }

    /// Has it shut down, and end by itself. Its descriptors before it ended are those it began with, or this throws.
    func end(expecting count: Int) throws -> Counts {
        let counts = try ask("end")
        try eventually("the \(count) descriptors it began with: \(descriptors)") { descriptors.count == count }
        Glibc.close(input)
        let status = Spawn.wait(process)
        hasEnded = true
        Glibc.close(output)
        try require(status == 0, "the subject ended with \(status)")
        return counts
    }

    private func collect() {
        guard !hasEnded else { return }
        hasEnded = true
        _ = Spawn.wait(process)
        Glibc.close(input)
        Glibc.close(output)
    }

    deinit { if !hasEnded { kill() } }
}
