import SwiftTransport
import Testing

extension Scenarios {
    /// A stream has two directions, and each may end without the other. An end of stream that nobody acts upon is a
    /// descriptor lost.
    struct HalfClosureTests {
        /// With half closure the answer may come after the question has ended.
        @Test(arguments: Place.all) func thePeersEndIsNotOurs(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let answer = Pattern(seed: 17).bytes(at: 0, count: 400_000)
                let (channel, peer) = try await group.connection(place, .allowHalfClosure(true)) {
                    [RecordingHandler(log)]
                }
                try await blocking {
                    try peer.write("question")
                    peer.shutdownOutput()
                }
                try await log.wait(for: "the peer's end") { $0.events.last == .inputClosed }
                await group.settle()
                #expect(channel.isActive)
                channel.writeAndFlush(Buffer(answer))
                channel.close()
                let received = try await blocking { peer.readToEnd() }
                #expect(received.bytes == answer)
                let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                // The queue may rise above its mark on the way.
                let withoutMarks = end.rounds.filter { $0 != .writability(false) && $0 != .writability(true) }
                #expect(withoutMarks == [.added, .active, .read, .readComplete, .inputClosed, .inactive, .removed])
                #expect(end.text == "question")
            }
        }

        /// Behind the peer's end nothing comes any more, and nothing is sent: that the connection is lost is told all the same, or
        /// a channel whose peer is gone would stay for ever. Handlers, and a task, which has half closure without asking for it.
        @Test(arguments: Engine.allCases) func aResetBehindThePeersEndIsTold(_ engine: Engine) async throws {
            let place = Place(engine: engine, network: .tcp)
            try await withGroup(engine) { group in
                for _ in 0..<20 {
                    let log = Watched(Recording())
                    let (channel, peer) = try await group.connection(place, .allowHalfClosure(true)) {
                        [RecordingHandler(log)]
                    }
                    try await blocking { peer.shutdownOutput() }
                    try await log.wait(for: "the peer's end") { $0.events.last == .inputClosed }
                    try await blocking { peer.reset() }
                    await channel.closed()
                    let end = log.value
                    #expect(end.count(of: .error(.connectionLost)) == 1)
                    #expect(
                        end.rounds == [.added, .active, .inputClosed, .error(.connectionLost), .inactive, .removed])
                }
            }
        }

        @Test(arguments: Engine.allCases) func aTaskWhosePeerIsGoneIsCancelled(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let events = Watched<[String]>([])
                let server = try await ServerBootstrap(group: group)
                    .serve { connection in
                        for try await _ in connection.inbound {}
                        events.update { $0.append("works") }
                        // Longer than any patience: it ends because it is cancelled.
                        do { try await Task.sleep(for: .seconds(3600)) } catch {
                            events.update { $0.append("cancelled") }
                        }
                    }
                    .bind(to: SocketAddress(host: "127.0.0.1", port: 0))
                let peer = try await blocking {
                    let peer = try RawSocket.connect(to: server.localAddress)
                    peer.shutdownOutput()
                    return peer
                }
                try await events.wait(for: "the question") { $0 == ["works"] }
                try await blocking { peer.reset() }
                try await events.wait(for: "the cancellation") { $0 == ["works", "cancelled"] }
            }
        }

        /// Without it (the default) the channel sends what is queued and closes by itself.
        @Test(arguments: Place.all) func byDefaultThePeersEndEndsTheChannel(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let answer = Pattern(seed: 17).bytes(at: 0, count: 400_000)
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(place) {
                    [
                        RecordingHandler(log) {
                            $0.onInputClosed = { context in
                                context.write(Buffer(answer), tag: 1)
                                context.flush()
                            }
                        }
                    ]
                }
                let received = try await blocking {
                    try peer.write("question")
                    peer.shutdownOutput()
                    return peer.readToEnd()
                }
                #expect(received.bytes == answer)
                await channel.closed()
                #expect(log.value.count(of: .completed(1, nil)) == 1)
                #expect(log.value.events.last == .removed)
            }
        }

        /// Our own end leaves behind everything that was queued, is told when it is out, and the channel reads on.
        @Test(arguments: Place.all) func ourEndIsNotThePeers(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let question = Pattern(seed: 18).bytes(at: 0, count: 400_000)
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(place) { [RecordingHandler(log)] }
                channel.writeAndFlush(Buffer(question))
                channel.shutdownOutput()
                let received = try await blocking { peer.readToEnd() }
                #expect(received.bytes == question)
                try await log.wait(for: "the notice") { $0.events.contains(.outputShutDown) }
                await expectError(.outputShutDown, .none) { try await channel.send(Buffer("too late")) }
                #expect(channel.isActive)
                try await blocking {
                    try peer.write("an answer to that")
                    peer.close()
                }
                let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                #expect(end.text == "an answer to that")
                let withoutMarks = end.rounds.filter { $0 != .writability(false) && $0 != .writability(true) }
                #expect(
                    withoutMarks
                        == [.added, .active, .outputShutDown, .read, .readComplete, .inputClosed, .inactive, .removed])
            }
        }

        /// Both directions end at once, many times over: nothing hangs and nothing is told twice.
        @Test(arguments: Place.all) func bothDirectionsMayEndAtOnce(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                for _ in 0..<50 {
                    let log = Watched(Recording())
                    let (channel, peer) = try await group.connection(place) { [RecordingHandler(log)] }
                    async let ours: Void = { channel.shutdownOutput() }()
                    try await blocking { peer.shutdownOutput() }
                    await ours
                    let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                    #expect(end.count(of: .inputClosed) <= 1)
                    #expect(end.count(of: .outputShutDown) <= 1)
                    #expect(end.count(of: .inactive) == 1)
                    peer.close()
                }
            }
        }
    }
}
