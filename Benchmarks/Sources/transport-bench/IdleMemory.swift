import Foundation

/// What idle connections cost a server in memory of its own; the kernel's share is not in it.
struct IdleMemory: Codable, Sendable {
    var peer: Peer
    /// Those the growth is divided by: all but the ones of the warm-up.
    var connections: Int
    var messageBytes: UInt32
    /// Anonymous memory of the server: after the warm-up, after accepting the rest, after one echo on each of the rest.
    var bytesBefore: UInt64
    var bytesAfterAccept: UInt64
    var bytesAfterEcho: UInt64

    var perConnectionAfterAccept: Double { perConnection(bytesAfterAccept) }
    var perConnectionAfterEcho: Double { perConnection(bytesAfterEcho) }

    private func perConnection(_ bytes: UInt64) -> Double {
        (Double(bytes) - Double(bytesBefore)) / Double(connections)
    }

    /// Enough that pools and code have been touched before the first reading.
    static let warmUpConnections = 500

    /// Measures a fresh server with that many connections in all.
    static func measure(
        _ peer: Peer, host: String, engine: Engine, connections: Int, messageBytes: UInt32
    ) throws -> IdleMemory {
        let server = try PeerProcess(peer, host: host, engine: engine)
        defer { server.stop() }
        do {
            let idle = try IdleConnections(
                host: host, port: server.port, capacity: connections, messageBytes: messageBytes)
            let warmUp = min(warmUpConnections, connections / 2)
            try idle.open(warmUp)
            try idle.echo(from: 0)
            let before = try ProcStat.settledMemory(of: server.pid)
            try idle.open(connections - warmUp)
            let afterAccept = try ProcStat.settledMemory(of: server.pid)
            try idle.echo(from: warmUp)
            let afterEcho = try ProcStat.settledMemory(of: server.pid)
            return IdleMemory(
                peer: peer, connections: connections - warmUp, messageBytes: messageBytes,
                bytesBefore: before, bytesAfterAccept: afterAccept, bytesAfterEcho: afterEcho)
        } catch {
            throw BenchError("\(peer.title), idle memory: \(error)\n\(server.complaint)")
        }
    }

    static func table(_ figures: [IdleMemory]) -> Table {
        var table = Table(header: ["server", "B/connection after accept", "after one echo", "process before", "after"])
        for figure in figures {
            table.add([
                figure.peer.title,
                figure.perConnectionAfterAccept.formatted(decimals: 0),
                figure.perConnectionAfterEcho.formatted(decimals: 0),
                "\(figure.bytesBefore / 1024) KiB", "\(figure.bytesAfterEcho / 1024) KiB",
            ])
        }
        return table
    }
}
