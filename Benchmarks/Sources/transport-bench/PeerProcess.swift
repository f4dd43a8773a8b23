import CLoad
import Foundation

/// A server in a process of its own, from its ready line to its end.
final class PeerProcess {
    let peer: Peer
    let pid: pid_t
    let port: UInt16
    /// The engine the server says it runs on.
    let engineName: String
    private let errorFile: URL

    private static let readyTimeout: Duration = .seconds(10)
    private static let stopTimeout: Duration = .seconds(5)

    /// Starts the server on a port the kernel chooses and waits until it says it is ready.
    ///
    /// - Parameters:
    ///   - service: what the library's server does; the others only echo.
    ///   - extra: more arguments, for a peer that knows them.
    init(
        _ peer: Peer, host: String, engine: Engine = .automatic, service: String = "echo", extra: [String] = []
    ) throws {
        let arguments = peer.arguments(host: host, engine: engine, service: service) + extra
        let errorFile = FileManager.default.temporaryDirectory
            .appendingPathComponent("transport-bench-\(getpid())-\(UUID().uuidString).stderr")
        let child = try ChildProcess(
            executable: siblingExecutable(peer.binary), arguments: arguments, errorPath: errorFile.path)
        // One server runs at a time: an interrupted bench must not leave it behind.
        cload_guard_child(child.pid)
        defer { close(child.output) }
        do {
            let line = try Self.readLine(from: child.output, within: Self.readyTimeout)
            let ready = try ReadyLine(line)
            (port, engineName) = (ready.port, ready.engine)
        } catch {
            kill(child.pid, SIGKILL)
            _ = child.reap(wait: true)
            cload_guard_child(0)
            let complaint = (try? String(contentsOf: errorFile, encoding: .utf8)) ?? ""
            try? FileManager.default.removeItem(at: errorFile)
            let reason = complaint.isEmpty ? "\(error)" : complaint.trimmingCharacters(in: .whitespacesAndNewlines)
            throw BenchError("\(peer.title) (\(peer.binary)) did not start: \(reason)")
        }
        self.peer = peer
        self.pid = child.pid
        self.errorFile = errorFile
    }

    /// What the server wrote to standard error.
    var complaint: String {
        (try? String(contentsOf: errorFile, encoding: .utf8)) ?? ""
    }

    /// Asks the server to end, and insists when it does not.
    func stop() {
        let child = ChildProcess(pid: pid, output: -1)
        kill(pid, SIGTERM)
        let deadline = ContinuousClock.now + Self.stopTimeout
        while !child.reap(wait: false) {
            if ContinuousClock.now > deadline {
                progress("\(peer.title) (pid \(pid)) ignored SIGTERM and was killed")
                kill(pid, SIGKILL)
                _ = child.reap(wait: true)
                break
            }
            usleep(2000)
        }
        cload_guard_child(0)
        try? FileManager.default.removeItem(at: errorFile)
    }

    private static func readLine(from descriptor: Int32, within timeout: Duration) throws -> String {
        let deadline = ContinuousClock.now + timeout
        var bytes: [UInt8] = []
        while true {
            let left = (deadline - .now) / .milliseconds(1)
            guard left > 0 else { throw BenchError("no ready line within \(timeout)") }
            var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&wait, 1, Int32(left)) > 0 else { continue }
            var byte: UInt8 = 0
            guard read(descriptor, &byte, 1) == 1 else { throw BenchError("it ended without a ready line") }
            if byte == UInt8(ascii: "\n") { return String(decoding: bytes, as: UTF8.self) }
            bytes.append(byte)
        }
    }
}

/// `ready port=7000 pid=123 engine=uring`
private struct ReadyLine {
    var port: UInt16
    var engine: String

    init(_ line: String) throws {
        var values: [Substring: Substring] = [:]
        let words = line.split(separator: " ")
        for word in words.dropFirst() {
            let parts = word.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
        guard words.first == "ready", let port = values["port"].flatMap({ UInt16($0) }) else {
            throw BenchError("not a ready line: \(line)")
        }
        self.port = port
        engine = values["engine"].map(String.init) ?? "?"
    }
}
