extension Scenario {
    /// One side of transfers in both directions is killed without a word. The kernel says so to the other side, whose
    /// channels end, and whoever waits for a write is told.
    static let killed: [Scenario] = [
        Scenario("client killed") { stage in
            let server = try stage.subjectBeyond()
            let (ports, rest) = try server.serve([("pump", 0)])
            var growth = Growth()
            for _ in 0..<3 {
                let client = try stage.subjectHere()
                try client.ask("start")
                try client.ask("connect pump 0 \(server.address) \(ports[0]) 8")
                try transfer(between: server, and: client)
                client.kill()
                try server.expectRest(rest)
                growth.closed(server.residentBytes)
            }
            return try verdict(on: server, rest, growth)
        },
        Scenario("server killed") { stage in
            let client = try stage.subjectHere()
            let (_, rest) = try client.serve([])
            var growth = Growth()
            for _ in 0..<3 {
                let server = try stage.subjectBeyond()
                let (ports, _) = try server.serve([("pump", 0)])
                try client.ask("connect pump 0 \(server.address) \(ports[0]) 8")
                try transfer(between: client, and: server)
                server.kill()
                try client.expectRest(rest)
                growth.closed(client.residentBytes)
            }
            return try verdict(on: client, rest, growth)
        },
    ]
}

/// Until both have got much, and go on.
private func transfer(between one: Remote, and other: Remote) throws {
    let begin = try one.counts()[.receivedBytes]
    try eventually("a transfer in both directions") {
        let (here, there) = (try one.counts(), try other.counts())
        return here[.receivedBytes] - begin > 2 << 20 && there[.receivedBytes] > 2 << 20
            && here[.opened] - here[.closed] == 8
    }
}

private func verdict(on survivor: Remote, _ rest: Rest, _ growth: Growth) throws -> String {
    let counts = try survivor.counts()
    try require(counts[.opened] == 24, "\(counts[.opened]) channels were open")
    try require(counts[.failed] >= 24, "\(counts[.failed]) writes failed: somebody was told of success that was none")
    try growth.check(connections: 8, bytesEach: 0)
    try survivor.end(at: rest)
    return "3 rounds of 8 channels; of the one that is left \(counts[.written]) promises: \(counts[.sent]) sent, "
        + "\(counts[.failed]) failed; \(growth.description(8)); CLOSE_WAIT 0"
}
