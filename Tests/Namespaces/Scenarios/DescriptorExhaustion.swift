extension Scenario {
    /// A server may have 64 descriptors, and many more want to be served. Accepting pauses and goes on with every descriptor
    /// that is freed; who is connected is served meanwhile; and nobody turns in circles.
    static let descriptorExhaustion = Scenario("descriptor exhaustion") { stage in
        let limit = 64
        let remote = try stage.subjectBeyond()
        // Before there are servers: io_uring looks at the limit when an accept begins, and a multishot one begins once.
        try remote.ask("limit \(limit)")
        let (ports, rest) = try remote.serve([("echo", 0)])
        let places = limit - rest.descriptors
        let count = stage.size(400, short: 120)

        var waiting = try (0..<count).map { _ in try Peer(remote, port: ports[0]) }
        for (index, peer) in waiting.enumerated() { try peer.write(UInt8(truncatingIfNeeded: index)) }
        try eventually("no descriptor to be left: \(remote.descriptors.count) are open") {
            remote.descriptors.count == limit
        }
        try eventually("those who are in to be served") { Peer.readable(of: waiting).count == places }
        try eventually("a refusal of the kernel") { try remote.counts()[.refusedAccepts] > 0 }

        let live = Peer.readable(of: waiting)
        for index in live { try waiting[index].expect(UInt8(truncatingIfNeeded: index)) }
        let pause = try Pause.look(at: remote, live: live.map { waiting[$0] })

        // Everybody's turn comes, whoever leaves and however: in each round those who were served make room.
        var numbers = Array(waiting.indices)
        var served = live
        var rounds = 1
        while true {
            for (place, index) in served.enumerated() {
                if place % 2 == 0 { waiting[index].close() } else { waiting[index].reset() }
            }
            let gone = Set(served)
            let left = waiting.indices.filter { !gone.contains($0) }
            numbers = left.map { numbers[$0] }
            waiting = left.map { waiting[$0] }
            if waiting.isEmpty { break }
            try eventually("the next to be let in: \(waiting.count) wait") {
                Peer.readable(of: waiting).count == min(places, waiting.count)
            }
            served = Peer.readable(of: waiting)
            for index in served { try waiting[index].expect(UInt8(truncatingIfNeeded: numbers[index])) }
            rounds += 1
        }
        let counts = try remote.expectRest(rest)
        try require(counts[.opened] == count, "\(counts[.opened]) of \(count) were served")
        try remote.end(at: rest)
        return "\(count) connections for \(places) places, all served in \(rounds) rounds; without places "
            + "\(pause.turns) turns for \(pause.messages) messages and \(pause.refusals) refusals; CLOSE_WAIT 0"
    }
}

/// What a server does while it has no descriptors.
private struct Pause {
    let turns: Int
    let messages: Int
    let refusals: Int

    /// Sends messages back and forth, one at a time, until the kernel has refused a descriptor several times more.
    static func look(at remote: Remote, live: [Peer]) throws -> Pause {
        let before = try remote.counts()
        var now = before
        var messages = 0
        var questions = 0
        try eventually("accepting to be tried again") {
            for (index, peer) in live.enumerated() {
                try peer.write(UInt8(index))
                try peer.expect(UInt8(index))
            }
            messages += live.count
            now = try remote.counts()
            questions += 1
            return now[.refusedAccepts] - before[.refusedAccepts] >= 4
        }
        try require(now[.opened] == before[.opened], "somebody was let in without a descriptor")
        let pause = Pause(
            turns: now[.turns] - before[.turns], messages: messages,
            refusals: now[.refusedAccepts] - before[.refusedAccepts])
        // A message is a turn to answer it and one for the end of its send; a refusal the timer, the try and its end; a question
        // of ours one of each loop. Whoever turns in circles turns thousands of times for each.
        let allowed = 2 * pause.messages + 4 * pause.refusals + 4 * questions + 8
        try require(pause.turns <= allowed, "\(pause.turns) turns instead of \(allowed): \(pause)")
        return pause
    }
}
