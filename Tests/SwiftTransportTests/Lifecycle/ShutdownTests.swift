import Glibc
import SwiftTransport
import Testing

extension Scenarios {
    /// Graceful shutdown closes every channel and reports what did not finish by its deadline.
    struct ShutdownTests {
        static let size = 1 << 20

        @Test(arguments: Place.all) func whatIsQueuedIsSentFirst(_ place: Place) async throws {
            try await withGroup(place.engine, loops: 2) { group in
                let connections = try await many(group, place)
                for (channel, _) in connections {
                    channel.writeAndFlush(Buffer(Pattern(seed: 2).bytes(at: 0, count: Self.size)))
                }
                async let report = group.shutdown(within: .seconds(60))
                let received = try await blocking {
                    connections.map { _, peer in
                        let all = peer.readToEnd()
                        peer.close()
                        return all.bytes
                    }
                }
                #expect(received.allSatisfy { $0.count == Self.size })
                #expect(received.allSatisfy { $0.withUnsafeBytes { Pattern(seed: 2).matches($0, at: 0) } })
                #expect(await report.isComplete)
                for (channel, _) in connections { await channel.closed() }
            }
        }

        /// Peers that do not read: they are cut off when the time is over, and the report says how many and how much.
        @Test(arguments: Place.all) func whatDidNotFinishIsReported(_ place: Place) async throws {
            try await withGroup(place.engine, loops: 2) { group in
                let connections = try await many(group, place)
                for (channel, _) in connections {
                    channel.writeAndFlush(Buffer(Pattern(seed: 2).bytes(at: 0, count: Self.size)))
                }
                let report = await group.shutdown(within: .milliseconds(50))
                let received = try await blocking { connections.map { _, peer in peer.readToEnd().bytes.count } }
                #expect(report.channelsCutOff == connections.count)
                #expect(!report.isComplete)
                #expect(report.bytesDropped > 0)
                // What was not dropped was with the kernel, where a reset destroys what is under way.
                #expect(report.bytesDropped + received.reduce(0, +) <= connections.count * Self.size)
                if place.network == .unix {
                    #expect(report.bytesDropped + received.reduce(0, +) == connections.count * Self.size)
                }
            }
        }

        @Test(arguments: Place.all) func noTimeMeansAtOnce(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let connections = try await many(group, place)
                let report = await group.shutdown(within: .zero)
                #expect(report.channelsIdle == connections.count && report.channelsCutOff == 0)
                #expect(report.bytesDropped == 0)
                let ends = try await blocking { connections.map { _, peer in peer.readToEnd().error } }
                #expect(ends.allSatisfy { $0 == 0 })
            }
        }

        @Test(arguments: Engine.allCases) func listenersCloseAndNothingIsAcceptedAnyMore(_ engine: Engine) async throws
        {
            try await withGroup(engine, loops: 3) { group in
                let server = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0)
                await group.shutdown()
                await server.closed()
                let refused = try await blocking {
                    do {
                        _ = try RawSocket.connect(to: server.localAddress)
                        return Int32(0)
                    } catch let failure as RawSocket.Failure {
                        return failure.number
                    }
                }
                #expect(refused == ECONNREFUSED)
            }
        }

        /// Everybody who shuts the group down waits for the same end; only the first reports.
        @Test(arguments: Engine.allCases) func twoShutdownsEndTogether(_ engine: Engine) async throws {
            try await withGroup(engine, loops: 2) { group in
                let connections = try await many(group, Place(engine: engine, network: .tcp))
                async let first = group.shutdown(within: .milliseconds(50))
                async let second = group.shutdown(within: .milliseconds(50))
                #expect(await first.channelsIdle + second.channelsIdle == connections.count)
                let third = await group.shutdown()
                #expect(third.isComplete)
                for (_, peer) in connections { peer.close() }
            }
        }

        /// A group that has shut down says so, and nobody waits for an answer that does not come.
        @Test(arguments: Engine.allCases) func aGroupThatHasShutDownSaysSo(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .tcp))
                peer.close()
                let loop = group.loops[0]
                await group.shutdown()
                #expect(!loop.execute { Issue.record("runs on a loop that is gone") })
                #expect(await loop.run { 1 } == nil)
                #expect(await loop.statistics() == nil)
                await channel.closed()
                await expectError(.loopShutDown, .none) { try await channel.send(Buffer("x")) }
                let listener = try RawSocket.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
                let address = try listener.localAddress
                await expectError(.loopShutDown, .connect) {
                    try await ClientBootstrap(group: group).connect(to: address)
                }
                await expectError(.loopShutDown, .connect) {
                    try await ClientBootstrap(group: group).connect(host: "localhost", port: 1)
                }
                await expectError(.loopShutDown, .bind) {
                    try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0)
                }
            }
        }

        /// A timer that did not fire lets go of what it holds.
        @Test(arguments: Engine.allCases) func timersLetGo(_ engine: Engine) async throws {
            final class Held: Sendable {}
            try await withGroup(engine) { group in
                weak var held: Held?
                var task: ScheduledTask?
                do {
                    let object = Held()
                    held = object
                    task = group.loops[0].schedule(after: .seconds(3600)) { withExtendedLifetime(object) {} }
                    await group.settle()
                }
                #expect(held != nil)
                task = nil
                await group.shutdown()
                #expect(held == nil)
                _ = task
            }
        }

        private func many(_ group: EventLoopGroup, _ place: Place) async throws -> [(channel: Channel, peer: RawSocket)]
        {
            let server = try await group.serve(
                place, .sendBuffer(.kibibytes(32)), .waterMark(WaterMark(hardLimit: .mebibytes(8))))
            let peers = try await blocking {
                try (0..<6).map { _ in try RawSocket.connect(to: server.address, receiveBuffer: 32 * 1024) }
            }
            let channels = try await server.accepted.wait(for: "all connections") { $0.count == 6 }
            // Which channel belongs to which peer does not matter here.
            return Array(zip(channels, peers))
        }
    }
}
