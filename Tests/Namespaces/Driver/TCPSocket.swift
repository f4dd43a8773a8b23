import Glibc

/// A TCP socket as the kernel lists it, those without a descriptor included: what `ss -Htan` shows.
struct TCPSocket: CustomStringConvertible {
    enum State: Int {
        case established = 1
        case synSent, synReceived, finWait1, finWait2, timeWait, close, closeWait, lastAck, listen, closing, new
    }
    let state: State
    let localPort: Int
    let remotePort: Int
    /// How often the kernel has tried in vain, one time behind the other: what was sent without an answer, and to send at all.
    let tries: Int

    var description: String { "\(state) \(localPort)-\(remotePort) \(tries)" }

    /// Those of the namespace that this process is in.
    static func all(process: String = "self") -> [TCPSocket] {
        Lines.of("/proc/\(process)/net/tcp").dropFirst().compactMap(TCPSocket.init)
    }

    // "  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 ..."
    private init?(_ line: Substring) {
        let words = line.split(separator: " ")
        guard words.count > 8, let number = Int(words[3], radix: 16), let state = State(rawValue: number),
            let local = Self.port(words[1]), let remote = Self.port(words[2]),
            let retransmissions = Int(words[6], radix: 16), let probes = Int(words[8])
        else { return nil }
        self.state = state
        self.localPort = local
        self.remotePort = remote
        tries = retransmissions + probes
    }

    private static func port(_ address: Substring) -> Int? {
        address.split(separator: ":").last.flatMap { Int($0, radix: 16) }
    }
}

extension [TCPSocket] {
    func count(_ state: TCPSocket.State) -> Int { count { $0.state == state } }

    /// Those with a connection that is not over at both ends.
    var connected: Int { count { ![.listen, .timeWait, .close, .new].contains($0.state) } }
}

/// Files of /proc.
enum Lines {
    static func target(of link: String) -> String {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(link, &path, path.count)
        return String(decoding: path[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    static func of(_ path: String) -> [Substring] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { close(file) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(file, &part, part.count)
            guard count > 0 else { break }
            bytes += part[..<count]
        }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    }
}
