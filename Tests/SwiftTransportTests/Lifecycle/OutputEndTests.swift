import SwiftTransport
import Testing

extension Scenarios {
    /// The end of the output goes through the pipeline, and whoever waits for it is told once.
    struct OutputEndTests {
        private static func note(_ told: Watched<[String]>, _ name: String) -> @Sendable (WriteResult) -> Void {
            { result in told.update { $0.append("\(name): \(result.map { "\($0.code)" } ?? "done")") } }
        }

        /// Behind everything that was queued, and again at once.
        @Test(arguments: Place.all) func theEndIsToldWhenItIsSent(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let told = Watched<[String]>([])
                let question = Pattern(seed: 18).bytes(at: 0, count: 4_000_000)
                let (channel, peer) = try await group.connection(
                    place, .sendBuffer(65536), .allowHalfClosure(true), peerReceiveBuffer: 65536)
                channel.writeAndFlush(Buffer(question), promise: .callback(Self.note(told, "write")))
                channel.shutdownOutput(promise: .callback(Self.note(told, "first")))
                channel.shutdownOutput(promise: .callback(Self.note(told, "second")))
                await group.settle()
                #expect(told.value == [])
                let received = try await blocking { peer.readToEnd() }
                #expect(received.bytes == question)
                try await told.wait(for: "all of them") { $0.count == 3 }
                channel.shutdownOutput(promise: .callback(Self.note(told, "third")))
                #expect(
                    try await told.wait(for: "the last") { $0.count == 4 }
                        == ["write: done", "first: done", "second: done", "third: done"])
                #expect(channel.isActive)
                peer.close()
                channel.close(.immediate)
                await channel.closed()
                channel.shutdownOutput(promise: .callback(Self.note(told, "fourth")))
                #expect(try await told.wait(for: "the refusal") { $0.count == 5 }.last == "fourth: closed")
            }
        }

        /// A handler that has something to say before the end says it, wherever the end comes from.
        @Test(arguments: Place.all, [false, true])
        func theEndGoesThroughThePipeline(_ place: Place, _ byHandler: Bool) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let told = Watched<[String]>([])
                let (channel, peer) = try await group.connection(place) {
                    [
                        Farewell(),
                        RecordingHandler(log) {
                            $0.onActive = { context in
                                if byHandler { context.shutdownOutput(promise: .handler(context, tag: 7)) }
                            }
                        },
                    ]
                }
                if !byHandler { channel.shutdownOutput(promise: .callback(Self.note(told, "end"))) }
                let received = try await blocking { peer.readToEnd() }
                #expect(String(decoding: received.bytes, as: UTF8.self) == "farewell")
                if byHandler {
                    try await log.wait(for: "the handler to be told") { $0.count(of: .completed(7, nil)) == 1 }
                } else {
                    #expect(try await told.wait(for: "the end") { !$0.isEmpty } == ["end: done"])
                }
                peer.close()
                await channel.closed()
            }
        }

        /// The end comes of closing when the peer has ended its stream already.
        @Test(arguments: Place.all) func theEndIsToldWhenBothHaveEnded(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let told = Watched<[String]>([])
                let (channel, peer) = try await group.connection(
                    place, .sendBuffer(65536), .allowHalfClosure(true), peerReceiveBuffer: 65536
                ) {
                    [RecordingHandler(log)]
                }
                peer.shutdownOutput()
                try await log.wait(for: "the peer's end") { $0.events.contains(.inputClosed) }
                let answer = Pattern(seed: 19).bytes(at: 0, count: 2_000_000)
                channel.writeAndFlush(Buffer(answer))
                channel.shutdownOutput(promise: .callback(Self.note(told, "end")))
                await group.settle()
                #expect(told.value == [])
                let received = try await blocking { peer.readToEnd() }
                #expect(received.bytes == answer && received.error == 0)
                #expect(try await told.wait(for: "the end") { !$0.isEmpty } == ["end: done"])
                await channel.closed()
                peer.close()
            }
        }

        enum Never: CaseIterable, Sendable { case closed, notYetConnected, dropped, loopEnded }

        /// An end that will not come is told too, with the reason.
        @Test(arguments: Place.all, Never.allCases) func anEndThatNeverComesIsTold(_ place: Place, _ why: Never)
            async throws
        {
            let told = Watched<[String]>([])
            let early = Watched<Channel?>(nil)
            try await withGroup(place.engine) { group in
                let (channel, peer) = try await group.connection(place, .sendBuffer(65536), peerReceiveBuffer: 65536) {
                    why == .dropped ? [Dropping()] : []
                }
                early.update { $0 = channel }
                switch why {
                case .closed:
                    channel.writeAndFlush(Buffer(Pattern(seed: 20).bytes(at: 0, count: 8_000_000)))
                    channel.shutdownOutput(promise: .callback(Self.note(told, "end")))
                    await group.settle()
                    channel.close(.reset)
                case .notYetConnected:
                    let make: @Sendable (Channel) -> sending [any ChannelHandler] = { channel in
                        channel.shutdownOutput(promise: .callback(Self.note(told, "end")))
                        return []
                    }
                    let server = try await ServerBootstrap(group: group).childHandlers(make).bind(
                        to: place.freshAddress())
                    try await blocking { try RawSocket.connect(to: server.localAddress).close() }
                case .dropped: channel.shutdownOutput(promise: .callback(Self.note(told, "end")))
                case .loopEnded: break
                }
                if why != .loopEnded { try await told.wait(for: "the answer") { !$0.isEmpty } }
                peer.close()
                channel.close(.immediate)
                await channel.closed()
            }
            if why == .loopEnded { early.value?.shutdownOutput(promise: .callback(Self.note(told, "end"))) }
            let codes: [Never: String] = [
                .closed: "closed", .notYetConnected: "notYetConnected", .dropped: "promiseDropped",
                .loopEnded: "loopShutDown",
            ]
            #expect(try await told.wait(for: "the answer") { !$0.isEmpty } == ["end: \(codes[why] ?? "")"])
        }

        /// A task awaits it, and may give up; the output ends all the same.
        @Test(arguments: Engine.allCases, [false, true]) func theEndCanBeAwaited(_ engine: Engine, _ cancelling: Bool)
            async throws
        {
            try await withGroup(engine) { group in
                let listener = try RawSocket.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
                let connection = try await ClientBootstrap(group: group).options(.sendBuffer(65536))
                    .open(listener.localAddress)
                let peer = try await blocking { try listener.accept() }
                let question = Pattern(seed: 21).bytes(at: 0, count: 8_000_000)
                connection.channel.writeAndFlush(Buffer(question))
                let ending = Task { try await connection.shutdownOutput() }
                if cancelling {
                    await group.settle()
                    ending.cancel()
                    await expectError(.cancelled, .shutdown) { try await ending.value }
                }
                let received = try await blocking { peer.readToEnd() }
                #expect(received.bytes == question)
                if !cancelling { try await ending.value }
                try await connection.shutdownOutput()
                try await blocking { try peer.write("answer") }
                #expect(try await connection.read().map { String($0) } == "answer")
                peer.close()
                await connection.close()
                await expectError(.closed, .none) { try await connection.shutdownOutput() }
            }
        }
    }
}

/// Says something before the end.
private final class Farewell: ChannelHandler {
    static let interests: ChannelEvents = [.shutdownOutput]
    func shutdownOutput(_ context: ChannelContext, promise: consuming WritePromise) {
        context.writeAndFlush(Buffer("farewell"))
        context.shutdownOutput(promise: promise)
    }
}

/// Forgets that the output was to end.
private final class Dropping: ChannelHandler {
    static let interests: ChannelEvents = [.shutdownOutput]
    func shutdownOutput(_ context: ChannelContext, promise: consuming WritePromise) {}
}
