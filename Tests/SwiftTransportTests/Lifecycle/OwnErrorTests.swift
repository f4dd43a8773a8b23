import Testing

@testable import SwiftTransport

extension Scenarios {
    /// Errors of one's own travel through the pipeline as those of the connection do, and end nothing by themselves.
    struct OwnErrorTests {
        /// Every handler behind the one that failed gets it as it is.
        @Test(arguments: Place.all) func anErrorGetsToTheHandlersBehind(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let (before, behind) = (Watched(Recording()), Watched(Recording()))
                let caught = Watched<[BadFrame]>([])
                let (channel, peer) = try await group.connection(place) {
                    [RecordingHandler(before), Framing(), Catcher(caught), RecordingHandler(behind)]
                }
                try await blocking { try peer.write("!") }
                try await caught.wait(for: "the error") { $0 == [BadFrame(byte: 33)] }
                let expected = Event.note("error: \(BadFrame(byte: 33))")
                try await behind.wait(for: "the error") { $0.count(of: expected) == 1 }
                #expect(before.value.count(of: expected) == 0)
                #expect(channel.isActive)
                try await blocking { try peer.write("fine") }
                try await behind.wait(for: "what comes after it") { $0.text == "fine" }
                peer.close()
                await channel.closed()
            }
        }

        /// A task has it thrown by its read, behind what came before, and can get at it.
        @Test(arguments: Place.all) func anErrorIsThrownToTheTask(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let outcomes = Watched<[String]>([])
                let errors = Watched<[TransportError]>([])
                let server = try await ServerBootstrap(group: group).childHandlers { [Framing()] }
                    .serve { connection in
                        do throws(TransportError) {
                            while let bytes = try await connection.read() {
                                outcomes.update { $0.append(String(bytes)) }
                            }
                        } catch {
                            errors.update { $0.append(error) }
                        }
                    }.bind(to: place.freshAddress())
                let peer = try await blocking {
                    let peer = try RawSocket.connect(to: server.localAddress)
                    try peer.write("before")
                    return peer
                }
                try await outcomes.wait(for: "the bytes") { $0.joined() == "before" }
                try await blocking { try peer.write("!") }
                let error = try #require(try await errors.wait(for: "the error") { $0.count == 1 }.first)
                #expect(error.code == .handlerFailed && error.call == .receive)
                #expect(error.underlying as? BadFrame == BadFrame(byte: 33))
                #expect(error.description == "a handler failed: BadFrame(byte: 33) [recv]")
                peer.close()
            }
        }

        /// Two errors that say the same are the same; what is not printable is escaped.
        @Test func anErrorIsComparedByWhatItSays() {
            struct Text: Error, CustomStringConvertible { let description: String }
            let one = TransportError(wrapping: BadFrame(byte: 1), call: .receive)
            #expect(one == TransportError(wrapping: BadFrame(byte: 1), call: .receive))
            #expect(one != TransportError(wrapping: BadFrame(byte: 2), call: .receive))
            #expect(one.about("127.0.0.1:80").underlying is BadFrame)
            #expect(one.about("127.0.0.1:80").subject == "127.0.0.1:80")
            #expect(one.subject == nil)
            let forged = TransportError(wrapping: Text(description: "a\nb"), call: .receive)
            #expect(forged.description == #"a handler failed: a\nb [recv]"#)
            #expect(TransportError(wrapping: one, call: .accept) == one)
        }
    }
}

private struct BadFrame: Error, Equatable { let byte: UInt8 }

/// Refuses one byte.
private final class Framing: ChannelHandler {
    static let interests: ChannelEvents = [.read]
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        if bytes.withUnsafeBytes({ $0.first == 33 }) {
            context.fireErrorCaught(BadFrame(byte: 33))
        } else {
            context.fireChannelRead(bytes)
        }
    }
}

private final class Catcher: ChannelHandler {
    static let interests: ChannelEvents = [.error]
    private let caught: Watched<[BadFrame]>
    init(_ caught: Watched<[BadFrame]>) { self.caught = caught }

    func errorCaught(_ context: ChannelContext, _ error: any Error) {
        if let frame = error as? BadFrame { caught.update { $0.append(frame) } }
        context.fireErrorCaught(error)
    }
}
