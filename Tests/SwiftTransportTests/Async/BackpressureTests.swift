import SwiftTransport
import Testing

@testable import struct SwiftTransport.Connection
@testable import class SwiftTransport.InboundBridge
@testable import struct SwiftTransport.InputQueue

extension Scenarios {
    /// Memory has a bound. A task that is slow slows its peer down.
    struct BackpressureTests {
        /// What a loop may have received in one turn before it can stop: all the memory the kernel was lent.
        static let oneTurn = 2 << 20

        @Test(arguments: Place.all) func aSlowTaskBoundsMemory(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let size = 32 << 20
                let connections = Watched<[Connection]>([])
                let server = try await ServerBootstrap(group: group).serve { connection in
                    connections.update { $0.append(connection) }
                    await connection.channel.closed()
                }.bind(to: place.freshAddress())
                let peer = try await blocking { try RawSocket.connect(to: server.localAddress) }
                startThread {
                    for offset in stride(from: 0, to: size, by: 1 << 16) {
                        guard (try? peer.write(Pattern(seed: 19).bytes(at: offset, count: 1 << 16))) != nil else {
                            return
                        }
                    }
                    peer.shutdownOutput()
                }
                let connection = try await connections.wait(for: "a connection") { !$0.isEmpty }[0]
                // Nobody reads: what is kept grows until reading pauses, and then no more.
                try await eventually("reading to pause") { try await kept(by: connection).bytes >= InboundBridge.high }
                for _ in 0..<200 { await group.settle() }
                let paused = try await kept(by: connection)
                #expect(paused.bytes <= 2 * InboundBridge.high + Self.oneTurn)
                // Somebody reads: all of it comes, and at no time is more than that kept.
                var received = 0
                var most = 0
                for try await bytes in connection.inbound {
                    let sound = bytes.withUnsafeBytes { Pattern(seed: 19).matches($0, at: received) }
                    try #require(sound)
                    received += bytes.count
                    if received % 7 == 0 { most = max(most, try await kept(by: connection).bytes) }
                }
                #expect(received == size)
                #expect(most <= 2 * InboundBridge.high + Self.oneTurn)
            }
        }

        /// A reader that is always one piece behind: the places of what was read are used again.
        @Test(arguments: Engine.allCases) func aReaderThatIsAlwaysBehindCostsNoMore(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let listener = try RawSocket.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
                let connection = try await ClientBootstrap(group: group).open(listener.localAddress)
                let peer = try await blocking { try listener.accept() }
                var inbound = connection.inbound.makeAsyncIterator()
                var most = 0
                // Pieces that are not small enough to be joined.
                func piece(_ number: UInt8) -> [UInt8] { [UInt8](repeating: number, count: 1500) }
                var received: [UInt8] = []
                try peer.write(piece(0))
                let one = 1500 + InputQueue.overhead
                try await eventually("the first piece") { try await kept(by: connection).bytes == one }
                for number in UInt8(1)...250 {
                    try peer.write(piece(number))
                    try await eventually("two pieces") { try await kept(by: connection).bytes > one }
                    received += [UInt8](try #require(try await inbound.next()))
                    most = max(most, try await kept(by: connection).places)
                }
                #expect(most < 100)
                #expect((UInt8(0)...250).flatMap(piece).starts(with: received) && received.count > 250 * 700)
            }
        }

        /// What the bridge holds: its fields are its own affair, so they are looked at and not asked for.
        private func kept(by connection: Connection) async throws -> (bytes: Int, places: Int) {
            let seen = await connection.channel.eventLoop.run {
                let bridge = Mirror(reflecting: connection.bridge)
                let cost = bridge.descendant("own", "input", "cost") as? Int
                let pieces = bridge.descendant("own", "input", "pieces").map { Mirror(reflecting: $0).children.count }
                return [cost, pieces]
            }
            return (try #require(seen?[0]), try #require(seen?[1]))
        }
    }
}
