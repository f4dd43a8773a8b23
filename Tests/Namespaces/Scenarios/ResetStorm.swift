extension Scenario {
    /// Thousands of connections are reset, at every moment of their lives, after a half close too. Every one of them is
    /// closed here, no socket is left, and when the storm is over nobody turns for it any more.
    static let resetStorm = Scenario("reset storm") { stage in
        let count = stage.size(6_000, short: 420)
        let remote = try stage.subjectBeyond()
        let (ports, rest) = try remote.serve([("echo", 0), ("pump", 0), ("open", 0)])
        var growth = Growth()
        for round in 0..<3 {
            for first in stride(from: 0, to: count, by: 500) {
                try Storm.blow(remote, ports, count: min(500, count - first))
            }
            let counts = try remote.expectRest(rest)
            try require(counts[.opened] == (round + 1) * count, "\(counts[.opened]) were accepted")
            growth.closed(remote.residentBytes)
        }
        try growth.check(connections: count, bytesEach: 0)
        let (turns, messages) = try Calm.look(at: remote, port: ports[0])
        let counts = try remote.expectRest(rest)
        try remote.end(at: rest)
        return "\(count) connections, 3 rounds, \(counts[.errors]) errors told, \(counts[.ended]) ends of stream; "
            + "\(growth.description(count)); then \(turns) turns for \(messages) messages; CLOSE_WAIT 0"
    }
}

/// Connections that are all reset, each at one of the moments of its life.
private enum Storm: Int, CaseIterable {
    /// Before anybody has said anything, and perhaps before it is accepted.
    case atOnce
    /// Behind an answer, with an answer that is not read, and behind the end of what the peer sends, with the answer on its way.
    case answered, unread, halfClosed
    /// In the middle of a stream that nobody reads, and there behind the end of what the peer sends.
    case streaming, halfClosedStreaming
    /// Where the server allows half closure and has nothing to say: nothing but the reset will ever end it.
    case halfOpen

    static func blow(_ remote: Remote, _ ports: [Int], count: Int) throws {
        let before = try remote.counts()[.ended]
        let peers = try (0..<count).map { index in
            let moment = Self.allCases[index % Self.allCases.count]
            return (moment, try Peer(remote, port: ports[moment.service]))
        }
        for (moment, peer) in peers where moment.isAnswered { try peer.write(7) }
        for (moment, peer) in peers where moment == .answered || moment == .halfOpen { try peer.expect(7) }
        for (moment, peer) in peers where moment.isHalfClosed { peer.shutdownOutput() }
        // The reset comes behind an end that the server has seen.
        let halfClosed = peers.count { $0.0.isHalfClosed }
        try eventually("the ends of streams to be seen") { try remote.counts()[.ended] - before == halfClosed }
        for (_, peer) in peers { peer.reset() }
    }

    /// Which of the servers: echo, pump, open.
    private var service: Int {
        switch self {
        case .streaming, .halfClosedStreaming: 1
        case .halfOpen: 2
        default: 0
        }
    }
    private var isAnswered: Bool { [.answered, .unread, .halfClosed, .halfOpen].contains(self) }
    private var isHalfClosed: Bool { [.halfClosed, .halfClosedStreaming, .halfOpen].contains(self) }
}

/// What a server does when the storm is over.
private enum Calm {
    /// Sends messages back and forth, one at a time. Whoever still turns for what is gone turns much more often.
    static func look(at remote: Remote, port: Int) throws -> (turns: Int, messages: Int) {
        let peer = try Peer(remote, port: port)
        try peer.write(0)
        try peer.expect(0)
        let messages = 500
        let before = try remote.counts()
        for message in 0..<messages {
            try peer.write(UInt8(truncatingIfNeeded: message))
            try peer.expect(UInt8(truncatingIfNeeded: message))
        }
        let turns = try remote.counts()[.turns] - before[.turns]
        try require(turns <= 2 * messages + 8, "\(turns) turns for \(messages) messages")
        return (turns, messages)
    }
}
