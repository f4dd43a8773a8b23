import SwiftTransport
import Testing

extension Scenarios {
    /// A service that answers each request in the callback it came with. Marks are the default ones: a hard limit of 1 MiB.
    struct PipelinedAnswersTests {
        private static let answerSize = 100_000

        /// Answers to requests that came together are a queue of our own making and not a peer that does not read.
        @Test(arguments: Engine.allCases, [11, 20])
        func requestsThatComeTogetherAreAllAnswered(_ engine: Engine, count: Int) async throws {
            try await withGroup(engine) { group in
                let place = Place(engine: engine, network: .tcp)
                let pattern = Pattern(seed: UInt64(count))
                let (channel, peer) = try await group.connection(place) { [Answerer(pattern)] }
                let received = try await blocking {
                    try peer.write([UInt8](repeating: UInt8(ascii: "?"), count: count))
                    return try peer.read(count * Self.answerSize)
                }
                #expect(received.count == count * Self.answerSize)
                #expect(received.withUnsafeBytes { pattern.matches($0, at: 0) })
                #expect(channel.isActive)
            }
        }

        /// Every byte is a request.
        private final class Answerer: ChannelHandler {
            static let interests: ChannelEvents = [.read]
            private let pattern: Pattern
            private var sent = 0

            init(_ pattern: Pattern) { self.pattern = pattern }

            func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
                for _ in 0..<bytes.count {
                    context.writeAndFlush(Buffer(pattern.bytes(at: sent, count: answerSize)))
                    sent += answerSize
                }
            }
        }
    }
}
