import Foundation
import SwiftTransport

/// Peers that never read, and a server that writes as fast as `isWritable` allows: what each of them costs the server.
struct SlowReaders {
    /// Small writes, so that they are copied and really use memory.
    static let writeBytes = 1000
    /// The library's default.
    static let mark = WaterMark()

    var connections: Int
    /// Anonymous memory of the server, before anybody connected and when nobody takes any more.
    var bytesBefore: UInt64
    var bytesFull: UInt64

    var perConnection: Double { (Double(bytesFull) - Double(bytesBefore)) / Double(connections) }
    /// What a channel may have queued by its marks: the write that crosses the high one is still taken.
    static let limit = mark.high.bytes + writeBytes + WaterMark.entryOverhead.bytes

    /// What a connection has beside its queued bytes: its objects, the rest of the last block and the queue's ring.
    static let besides = 8 * 1024

    static func measure(host: String, engine: Engine, connections: Int) throws -> SlowReaders {
        let server = try PeerProcess(.swiftTransport, host: host, engine: engine, service: "flood")
        defer { server.stop() }
        let before = try ProcStat.settledMemory(of: server.pid)
        let readers = try IdleConnections(host: host, port: server.port, capacity: connections, messageBytes: 1)
        try readers.open(connections)
        let full = try ProcStat.settledMemory(of: server.pid)
        return SlowReaders(connections: connections, bytesBefore: before, bytesFull: full)
    }

    var table: Table {
        var table = Table(header: ["Must show", "target", "measured", "met"])
        let most = Self.limit + Self.besides
        table.add([
            "memory per connection that never reads, high mark \(Self.mark.high.bytes / 1024) KiB", "at most \(most) B",
            "\(perConnection.formatted(decimals: 0)) B", perConnection <= Double(most) ? "yes" : "NO",
        ])
        return table
    }
}
