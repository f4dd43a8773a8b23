extension Scenario {
    /// The network is gone in the middle of a transfer, nobody says so, and it comes back or not.
    static let blackHoles: [Scenario] =
        Cut.allCases.map { cut in
            Scenario("black hole healed, \(cut.rawValue)", isLong: cut != .routeThere) { stage in
                let transfer = try Transfer(stage)
                try transfer.run()
                try cut.make(transfer.server)
                let stalled = try transfer.expectStall()
                try cut.heal(transfer.server)
                let bytes = try transfer.expectAll()
                return "\(stalled); healed: \(bytes) bytes, each in its place; CLOSE_WAIT 0"
            }
        }
        + [
            ("reset", "close reset"), ("close", "close immediate"), ("drain", "close drain 200"),
            ("shutdown", "shutdown"),
        ].map { name, end in
            Scenario("black hole, \(name)", isLong: name != "reset") { stage in
                let transfer = try Transfer(stage)
                try transfer.run()
                // Neither the bytes nor a reset get there.
                try Cut.deviceThere.make(transfer.server)
                let stalled = try transfer.expectStall()
                let failed = try transfer.expectEnd(by: end)
                try Cut.deviceThere.heal(transfer.server)
                try transfer.expectNobody()
                return "\(stalled); ended: \(failed) promises failed; CLOSE_WAIT 0"
            }
        }
        + [
            Scenario("black hole, the kernel gives up", isLong: true) { stage in
                let transfer = try Transfer(stage, service: "impatient")
                try transfer.run()
                try Cut.routeThere.make(transfer.server)
                try eventually("the kernel to give up") { try transfer.client.counts()[.closed] == 1 }
                let counts = try transfer.client.expectRest(transfer.rest)
                try require(counts[.timedOut] == 1, "the channel did not end for a time that was over: \(counts.line)")
                try require(counts[.failed] > 0, "no promise failed")
                try Cut.routeThere.heal(transfer.server)
                try transfer.client.end(at: transfer.rest)
                try transfer.expectNobody()
                return "\(counts[.failed]) promises failed; CLOSE_WAIT 0"
            }
        ]
}

/// Where the network is cut.
private enum Cut: String, CaseIterable {
    case deviceHere = "device of the sender down"
    case deviceThere = "device of the receiver down"
    case routeHere = "route of the bytes"
    case routeThere = "route of their acknowledgements"

    func make(_ server: Remote) throws {
        switch self {
        case .deviceHere: try Tool.run(["ip", "link", "set", server.device, "down"])
        case .deviceThere: try server.ask("ip link set \(server.deviceThere) down")
        case .routeHere: try Tool.run(["ip", "route", "add", "blackhole", server.address])
        case .routeThere: try server.ask("ip route add blackhole \(server.driversAddress)")
        }
    }

    func heal(_ server: Remote) throws {
        switch self {
        case .deviceHere: try Tool.run(["ip", "link", "set", server.device, "up"])
        case .deviceThere: try server.ask("ip link set \(server.deviceThere) up")
        case .routeHere: try Tool.run(["ip", "route", "delete", "blackhole", server.address])
        case .routeThere: try server.ask("ip route delete blackhole \(server.driversAddress)")
        }
    }
}

/// A client beside the driver that sends without end, and a server behind a pair of devices that checks what it gets.
private final class Transfer {
    let server: Remote
    let client: Remote
    let rest: Rest
    private let port: Int
    private let restOfServer: Rest
    private let service: String

    init(_ stage: Stage, service: String = "pump") throws {
        self.service = service
        server = try stage.subjectBeyond()
        client = try stage.subjectHere()
        let (ports, restOfServer) = try server.serve([("sink", 0)])
        (port, self.restOfServer) = (ports[0], restOfServer)
        rest = try client.serve([]).rest
    }

    func run() throws {
        try client.ask("connect \(service) 0 \(server.address) \(port) 1")
        try eventually("a transfer") { try server.counts()[.receivedBytes] > 4 << 20 }
    }

    /// The kernel tries again and again, and meanwhile nothing moves: the channel is full and says so, its writes are
    /// pending, and nobody is told anything. Returns what was seen.
    func expectStall() throws -> String {
        try eventually("the channel to be full") { try client.counts()[.unwritable] == 1 }
        try tries(1)
        let before = try client.counts()
        try tries(3)
        let after = try client.counts()
        try require(after[.sent] == before[.sent] && after[.written] == before[.written], "writes went through a hole")
        try require(
            after[.failed] == 0 && after[.opened] == 1 && after[.closed] == 0, "the channel ended: \(after.line)")
        let pending = after[.written] - after[.sent]
        try require(pending > 0 && after[.unwritable] == 1, "nothing is pending: \(after.line)")
        // More than the low mark, and no more than the write that crossed the high one left.
        let levels = 8 * 1024...(16 * 1024 + 4096 + 512)
        try require(levels.contains(after[.queuedBytes]), "\(after[.queuedBytes]) bytes are queued")
        // Each question wakes each loop once.
        let turns = after[.turns] - before[.turns]
        try require(turns <= 8, "\(turns) turns while nothing happened")
        return "\(pending) promises and \(after[.queuedBytes]) B pending, \(turns) turns"
    }

    private func tries(_ count: Int) throws {
        try eventually("the kernel to try again \(count) times: \(TCPSocket.all())") {
            TCPSocket.all().contains { $0.remotePort == port && $0.tries >= count }
        }
    }

    /// Returns how many bytes there were.
    func expectAll() throws -> Int {
        let before = try server.counts()[.receivedBytes]
        try eventually("the transfer to go on") { try server.counts()[.receivedBytes] > before + (2 << 20) }
        try client.ask("finish")
        let sent = try client.expectRest(rest)
        let received = try server.expectRest(restOfServer)
        try require(sent[.failed] == 0 && sent[.errors] == 0, "writes failed: \(sent.line)")
        try require(received[.ended] == 1 && received[.errors] == 0, "no clean end: \(received.line)")
        try require(received[.receivedBytes] == sent[.writtenBytes], "\(sent.line) is not \(received.line)")
        try client.end(at: rest)
        try server.end(at: restOfServer)
        return received[.receivedBytes]
    }

    /// The client ends what goes nowhere. Returns how many promises failed.
    func expectEnd(by command: String) throws -> Int {
        if command != "shutdown" {
            try client.ask(command)
            try client.expectRest(rest)
        }
        let counts = try client.end(at: rest)
        try require(counts[.closed] == 1 && counts[.failed] > 0, "\(counts.line)")
        try require(TCPSocket.all().connected == 0, "the kernel goes on trying")
        return counts[.failed]
    }

    /// The server, who knew nothing of it all, learns that its peer is gone as soon as it has something to say.
    func expectNobody() throws {
        try require(try server.counts()[.closed] == 0, "the server heard through a black hole")
        try server.ask("poke")
        let counts = try server.expectRest(restOfServer)
        try require(counts[.errors] == 1, "the channel ended without an error: \(counts.line)")
        try server.end(at: restOfServer)
    }
}
