import SwiftTransport
import Synchronization
import Testing

extension Scenarios {
    /// Enters per loop turn: at most 1, plus full submission queues. No system call per message.
    struct TurnTests {
        @Test(arguments: Place.all) func oneSystemCallATurn(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let loop = group.loops[0]
                let server = try await group.serve(place) { [EchoHandler()] }
                let peers = try await blocking { try (0..<64).map { _ in try RawSocket.connect(to: server.address) } }
                let message = Pattern(seed: 3).bytes(at: 0, count: 64)
                let correct = try await blocking { try RawSocket.exchange(message, count: 50, with: peers) }
                #expect(correct)
                let counts = try #require(await loop.statistics())
                #expect(counts.accepts == 64)
                #expect(counts.receives == 64 * 50)
                #expect(counts.sends == 64 * 50)
                #expect(counts.enters > 0)
                #expect(counts.enters <= counts.turns)
                #expect(counts.entersQueueFull == 0)
            }
        }

        /// All that happened meanwhile is one turn's work: what 64 connections got is sent by the enter that waits.
        @Test(arguments: Place.all) func manyConnectionsShareATurn(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let loop = group.loops[0]
                let server = try await group.serve(place) { [EchoHandler()] }
                let peers = try await blocking { try (0..<64).map { _ in try RawSocket.connect(to: server.address) } }
                try await server.accepted.wait(for: "all connections") { $0.count == 64 }
                let before = try #require(await loop.statistics())
                try await withLoopHeld(loop) {
                    try await blocking { for peer in peers { try peer.write("all at once") } }
                }
                let echoes = try await blocking { try peers.map { try $0.read(11) } }
                let after = try #require(await loop.statistics())
                #expect(echoes.allSatisfy { String(decoding: $0, as: UTF8.self) == "all at once" })
                #expect(after.sends - before.sends == 64)
                // A peer that reads from a Unix socket makes an edge of its own for epoll: those turns are the peers'.
                guard place.engine == .uring || place.network != .unix else { return }
                // The kernel hands over 20 completions in a turn that did not ask for more, so 64 take a few.
                #expect(after.enters - before.enters < 32)
            }
        }

        /// A loop that is awake is not woken, however much is posted to it.
        @Test(arguments: Engine.allCases) func aLoopThatIsAwakeIsNotWoken(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let loop = group.loops[0]
                let wakes = Watched<[UInt64]>([])
                try await withLoopHeld(loop) {
                    loop.execute { wakes.update { $0.append(loop.currentStatistics.wakes) } }
                    for _ in 0..<1000 { loop.execute {} }
                    loop.execute { wakes.update { $0.append(loop.currentStatistics.wakes) } }
                }
                let seen = try await wakes.wait(for: "the last piece of work") { $0.count == 2 }
                #expect(seen[0] == seen[1])
            }
        }
    }
}
