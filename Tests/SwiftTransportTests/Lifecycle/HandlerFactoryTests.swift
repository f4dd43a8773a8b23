import Glibc
import SwiftTransport
import Testing

extension Scenarios {
    /// What makes a channel's handlers gets the channel before it is active, and may fail.
    struct HandlerFactoryTests {
        private struct Given: Error {}

        @Test(arguments: Place.all) func handlersAreMadeBeforeTheChannelIsActive(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let seen = Watched<[String]>([])
                let make: @Sendable (Channel) -> sending [any ChannelHandler] = { channel in
                    let (isHome, isActive) = (channel.isOnItsLoop, channel.isActive)
                    seen.update { $0.append("\(isHome) \(isActive)") }
                    channel.writeAndFlush(
                        "too early",
                        promise: .callback { result in
                            seen.update { $0.append("\(result.map { "\($0.code)" } ?? "sent")") }
                        })
                    return [
                        RecordingHandler(log) {
                            $0.onActive = { context in
                                let isSame = context.channel === channel
                                seen.update { $0.append("the same \(isSame)") }
                            }
                        }
                    ]
                }
                let server = try await ServerBootstrap(group: group).childHandlers(make).bind(to: place.freshAddress())
                let channel = try await ClientBootstrap(group: group).handlers(make).connect(to: server.localAddress)
                let told = try await seen.wait(for: "both ends") { $0.count == 6 }
                #expect(told.filter { $0 == "true false" }.count == 2)
                #expect(told.filter { $0 == "notYetConnected" }.count == 2)
                #expect(told.filter { $0 == "the same true" }.count == 2)
                channel.close(.immediate)
                await channel.closed()
            }
        }

        /// The connection is reset, the error told, and the next one accepted.
        @Test(arguments: Place.all) func anAcceptedConnectionIsResetWhenItFails(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let errors = Watched<[TransportError]>([])
                let calls = Watched(0)
                let server = try await ServerBootstrap(group: group)
                    .onAcceptError { error in errors.update { $0.append(error) } }
                    .childHandlers {
                        calls.update { $0 += 1 }
                        switch calls.value {
                        case 1: throw Given()
                        case 2: throw TransportError(.notPermitted)
                        default: return [EchoHandler()]
                        }
                    }.bind(to: place.freshAddress())
                for round in 0..<2 {
                    let end = try await blocking {
                        let peer = try RawSocket.connect(to: server.localAddress)
                        defer { peer.close() }
                        return peer.readToEnd()
                    }
                    #expect(end.bytes == [] && end.error == (place.network == .tcp ? ECONNRESET : 0), "\(round)")
                }
                try await blocking {
                    let peer = try RawSocket.connect(to: server.localAddress)
                    try peer.write("echo")
                    #expect(try peer.read(4) == Array("echo".utf8))
                    peer.close()
                }
                let told = try await errors.wait(for: "both errors") { $0.count == 2 }
                #expect(told.map(\.code) == [.handlerFailed, .notPermitted])
                #expect(told[0].underlying is Given && told[0].call == .accept)
                #expect(told[1].underlying == nil)
                #expect(told.allSatisfy { $0.subject == server.localAddress.description })
                #expect(told[0].description.contains("a handler failed: Given()"))
                try await eventually("only the listener to be left") {
                    await group.loops[0].statistics()?.openEndpoints == 1
                }
            }
        }

        @Test(arguments: Place.all) func aConnectFailsWithIt(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let server = try await group.serve(place)
                let client = ClientBootstrap(group: group).handlers { _ in throw Given() }
                let error = await expectError(.handlerFailed, .connect, about: server.address.description) {
                    try await client.connect(to: server.address)
                }
                #expect(error?.underlying is Given)
                try await eventually("only the listener to be left") {
                    await group.loops[0].statistics()?.openEndpoints == 1
                }
            }
        }

        /// Handlers of an attempt that fails leave without having seen an event; one that closes the channel ends the attempt.
        @Test(arguments: Engine.allCases, [false, true])
        func handlersOfAnAttemptThatFailsLeave(_ engine: Engine, _ closing: Bool) async throws {
            try await withGroup(engine) { group in
                let log = Watched(Recording())
                let refused = try RawSocket.bound(to: SocketAddress(host: "127.0.0.1", port: 0))
                let client = ClientBootstrap(group: group).handlers {
                    [RecordingHandler(log) { $0.onAdded = { if closing { $0.close() } } }]
                }
                await expectError(closing ? .closed : .connectionRefused, .connect) {
                    try await client.connect(to: refused.localAddress)
                }
                let seen = try await log.wait(for: "the handler to leave") { $0.events.last == .removed }
                #expect(seen.events == [.added, .removed])
            }
        }

        /// A handler that loses patience while its channel connects ends the attempt.
        @Test(arguments: Engine.allCases) func aHandlerMayGiveTheConnectUp(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let hole = try BlackHole()
                let client = ClientBootstrap(group: group).handlers {
                    [RecordingHandler { $0.onAdded = { $0.schedule(after: .milliseconds(5)) { $0.close() } } }]
                }
                await expectError(.closed, .connect) { try await client.connect(to: hole.address) }
                try await eventually("nothing to be left") { await group.loops[0].statistics()?.openEndpoints == 0 }
            }
        }
    }
}

extension Channel {
    fileprivate var isOnItsLoop: Bool { eventLoop.isCurrent }
}
