import SwiftTransport
import Testing

extension Scenarios {
    /// The life of a channel, as its handlers see it: identical on both engines, event order included.
    struct EventOrderTests {
        @Test(arguments: Place.all) func aLifeGoesFromAddedToRemoved(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let (_, peer) = try await group.connection(place) { [RecordingHandler(log)] }
                try await blocking { try peer.write("hello") }
                try await log.wait(for: "hello") { $0.text == "hello" && $0.events.last == .readComplete }
                try await blocking {
                    try peer.write("world")
                    peer.close()
                }
                let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                #expect(end.rounds == [.added, .active, .read, .readComplete, .inputClosed, .inactive, .removed])
                #expect(end.text == "helloworld")
            }
        }

        /// A client sees the same life, and nothing before it is connected.
        @Test(arguments: Place.all) func aClientHasTheSameLife(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let listener = try RawSocket.listen(on: place.freshAddress())
                let log = Watched(Recording())
                let channel = try await ClientBootstrap(group: group).handlers { [RecordingHandler(log)] }
                    .connect(to: listener.localAddress)
                #expect(log.value.events == [.added, .active])
                let peer = try await blocking { try listener.accept() }
                try await blocking { try peer.write("hello") }
                try await log.wait(for: "hello") { $0.text == "hello" && $0.events.last == .readComplete }
                channel.close()
                let received = try await blocking { peer.readToEnd() }
                #expect(received.bytes == [])
                #expect(received.error == 0)
                peer.close()
                await channel.closed()
                // A channel that closes itself does not hear of the peer's end.
                #expect(log.value.rounds == [.added, .active, .read, .readComplete, .inactive, .removed])
            }
        }

        /// However much came before it: the end is told after the last byte, and after the completion of its turn.
        @Test(arguments: Place.all) func theEndStaysBehindTheData(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let size = 700_001
                let log = Watched(Recording())
                let (_, peer) = try await group.connection(place) { [RecordingHandler(log)] }
                let sent = Pattern(seed: 4).bytes(at: 0, count: size)
                try await blocking {
                    try peer.write(sent)
                    peer.close()
                }
                let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                #expect(end.bytes == sent)
                #expect(end.events.suffix(4) == [.readComplete, .inputClosed, .inactive, .removed])
                #expect(end.rounds == [.added, .active, .read, .readComplete, .inputClosed, .inactive, .removed])
            }
        }

        /// The completion of the last read ends the output, and with the peer's end there already the channel is done: the end
        /// is told all the same, and before it.
        @Test(arguments: Place.all) func theEndIsToldToWhoEndsTheOutput(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let (_, peer) = try await group.connection(place) {
                    [RecordingHandler(log) { $0.onReadComplete = { $0.channel.shutdownOutput() } }]
                }
                // Data and end in one turn.
                try await withLoopHeld(group.loops[0]) {
                    try await blocking {
                        try peer.write("hello")
                        peer.shutdownOutput()
                    }
                }
                let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                #expect(end.count(of: .inputClosed) == 1)
                #expect(end.events.suffix(3) == [.inputClosed, .inactive, .removed])
            }
        }

        /// Handlers see inbound events first to last, and leave last to first.
        @Test(arguments: Engine.allCases) func handlersComeInTheirOrder(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let order = Watched<[String]>([])
                let (_, peer) = try await group.connection(Place(engine: engine, network: .tcp)) {
                    ["first", "second", "third"].map { NamedHandler($0, order) }
                }
                try await blocking {
                    try peer.write("x")
                    peer.close()
                }
                let seen = try await order.wait(for: "the end") { $0.last == "first removed" }
                let names = ["first", "second", "third"]
                var expected = ["added", "active", "read", "inactive"].flatMap { event in names.map { "\($0) \(event)" }
                }
                expected += names.reversed().map { "\($0) removed" }
                #expect(seen == expected)
            }
        }

        /// A close while the channel becomes active still hears the peer's end of stream; without that every such close would
        /// last as long as a drain may.
        @Test(arguments: Place.all) func aCloseInChannelActiveEndsWithThePeer(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let (_, peer) = try await group.connection(place) {
                    [
                        RecordingHandler(log) {
                            $0.onActive = { context in
                                context.writeAndFlush(Buffer("sorry, full"))
                                context.close(.drain(within: .seconds(600)))
                            }
                        }
                    ]
                }
                let received = try await blocking {
                    let all = peer.readToEnd()
                    peer.close()
                    return all
                }
                #expect(String(decoding: received.bytes, as: UTF8.self) == "sorry, full")
                #expect(received.error == 0)
                let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                #expect(end.events == [.added, .active, .inactive, .removed])
            }
        }

        @Test(arguments: Engine.allCases) func bothEndsNameTheSameAddresses(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .tcp))
                #expect(await channel.remoteAddress()?.description == (try peer.localAddress.description))
                let port = try #require(await channel.localAddress()?.port)
                #expect(port != 0)
                channel.close(.immediate)
                await channel.closed()
                // Who has asked once knows it for ever.
                #expect(await channel.remoteAddress()?.description == (try peer.localAddress.description))
                #expect(await channel.localAddress()?.port == port)
            }
        }
    }
}

/// Logs under a name.
private final class NamedHandler: ChannelHandler {
    static let interests: ChannelEvents = [.active, .read, .inactive]
    private let name: String
    private let order: Watched<[String]>
    init(_ name: String, _ order: Watched<[String]>) {
        self.name = name
        self.order = order
    }

    private func note(_ what: String) { order.update { $0.append("\(name) \(what)") } }
    func handlerAdded(_ context: ChannelContext) { note("added") }
    func handlerRemoved(_ context: ChannelContext) { note("removed") }
    func channelActive(_ context: ChannelContext) {
        note("active")
        context.fireChannelActive()
    }
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        note("read")
        context.fireChannelRead(bytes)
    }
    func channelInactive(_ context: ChannelContext) {
        note("inactive")
        context.fireChannelInactive()
    }
}
