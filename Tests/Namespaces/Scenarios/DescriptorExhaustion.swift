extension Scenario {
    /// A server may have 64 descriptors, and many more want to be served. Accepting pauses and goes on with every descriptor
    /// that is freed; who is connected is served meanwhile; and nobody turns in circles.
    static let descriptorExhaustion = Scenario("descriptor exhaustion") { stage in
        let limit = 64
        let remote = try stage.subjectBeyond()
        // Before there are servers: io_uring looks at the limit when an accept begins, and a multishot one begins once.
        try remote.ask("limit \(limit)")
        let (ports, rest) = try remote.serve([("echo", 0)])
        let count = stage.size(400, short: 120)

        var waiting = try (0..<count).map { _ in try Peer(remote, port: ports[0]) }
        for (index, peer) in waiting.enumerated() { try peer.write(UInt8(truncatingIfNeeded: index)) }
        var live = try remote.expectFull(limit, waiting)
        let places = live.count
        try eventually("a refusal of the kernel") { try remote.counts()[.refusedAccepts] > 0 }

        for index in live { try waiting[index].expect(UInt8(truncatingIfNeeded: index)) }
        let pause = try Pause.look(at: remote, live: live.map { waiting[$0] })

        // Everybody's turn comes, whoever leaves and however: in each round those who were served make room.
        var numbers = Array(waiting.indices)
        var rounds = 1
        while true {
            for (place, index) in live.enumerated() {
                if place % 2 == 0 { waiting[index].close() } else { waiting[index].reset() }
            }
            let gone = Set(live)
            let left = waiting.indices.filter { !gone.contains($0) }
            numbers = left.map { numbers[$0] }
            waiting = left.map { waiting[$0] }
            if waiting.isEmpty { break }
            live = try remote.expectFull(limit, waiting)
            for index in live { try waiting[index].expect(UInt8(truncatingIfNeeded: numbers[index])) }
            rounds += 1
        }
        let counts = try remote.expectRest(rest)
        try require(counts[.opened] == count, "\(counts[.opened]) of \(count) were served")
        try remote.end(at: rest)
        return "\(count) connections for \(places) places, all served in \(rounds) rounds; without places "
            + "\(pause.turns) turns for \(pause.messages) messages and \(pause.refusals) refusals; CLOSE_WAIT 0"
    }
}

extension Remote {
    /// Waits until as many of `waiting` are in as there are descriptors, or all, and have been answered: which.
    fileprivate func expectFull(_ limit: Int, _ waiting: [Peer]) throws -> [Int] {
        var live: [Int] = []
        try eventually("the next to be let in: \(descriptorCount) descriptors are open, \(waiting.count) wait") {
            let counts = try counts()
            live = Peer.readable(of: waiting)
            return live.count == counts[.opened] - counts[.closed]
                && (live.count == waiting.count || descriptorCount == limit)
        }
        return live
    }
}

/// What a server does while it has no descriptors.
private struct Pause {
    let turns: Int
    let messages: Int
    let refusals: Int

    /// Sends messages back and forth, one at a time, until the kernel has refused a descriptor several times more.
    static func look(at remote: Remote, live: [Peer]) throws -> Pause {
        let start = ContinuousClock.now
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
        // Each loop tries again after a pause of 100 ms, and timers are never early: the slower the machine, the more room.
        let tenths = Int((ContinuousClock.now - start) / .milliseconds(100))
        try require(
            pause.refusals <= 2 * (tenths + 2), "accepting was tried again and again: \(pause) in \(tenths)00 ms")
        // A message is a turn to answer it and one for the end of its send; a refusal the timer, the try and its end; a question
        // of ours one of each loop. Whoever turns in circles turns thousands of times for each.
        let allowed = 2 * pause.messages + 4 * pause.refusals + 4 * questions + 8
        try require(pause.turns <= allowed, "\(pause.turns) turns instead of \(allowed): \(pause)")
        return pause
    }
}
