import SwiftTransport
import Testing

extension Scenarios {
    /// A hub: every line of one member goes to all others, and who is not writable is dropped, as services are taught to do
    /// with slow readers. Marks are the default ones.
    struct HubTests {
        private static let line = [UInt8](repeating: UInt8(ascii: "x"), count: 117) + [UInt8(ascii: "\n")]
        private static let lines = 555  // nearly 64 KiB
        private static let readers = 5

        /// Within one turn nobody can have read anything, so a burst that arrives as a whole says nothing about the readers.
        @Test(arguments: Place.all) func aBurstDropsNoReader(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let hub = Hub()
                let server = try await group.serve(place) { [Member(hub)] }
                let readers = try await blocking {
                    try (0..<Self.readers).map { _ in try RawSocket.connect(to: server.address) }
                }
                let sender = try await blocking { try RawSocket.connect(to: server.address) }
                try await server.accepted.wait(for: "all members") { $0.count == Self.readers + 1 }
                let burst = [UInt8]((0..<Self.lines).map { _ in Self.line }.joined())
                let received = Watched<[[UInt8]]>([])
                for reader in readers {
                    startThread {
                        let bytes = (try? reader.read(burst.count)) ?? []
                        received.update { $0.append(bytes) }
                    }
                }
                // All of it is there before the loop looks.
                try await withLoopHeld(group.loops[0]) { try await blocking { try sender.write(burst) } }
                try await received.wait(for: "five readers") { $0.count == Self.readers }
                #expect(received.value.map(\.count) == Array(repeating: burst.count, count: Self.readers))
                #expect(received.value.allSatisfy { $0 == burst })
                #expect(await group.loops[0].run { hub.dropped } == 0)
            }
        }

        /// The members of the hub and how many it has dropped. The loop's thread only.
        private final class Hub: @unchecked Sendable {
            var members: [Member] = []
            var dropped = 0

            func send(_ line: Buffer, from sender: Member) {
                for member in members where member !== sender {
                    guard let context = member.context else { continue }
                    if context.channel.isWritable {
                        context.writeAndFlush(line)
                    } else {
                        dropped += 1
                        context.close(.immediate)
                    }
                }
            }
        }

        private final class Member: ChannelHandler, @unchecked Sendable {
            static let interests: ChannelEvents = [.active, .read, .inactive]
            private let hub: Hub
            private(set) var context: ChannelContext?
            private var unfinished: [UInt8] = []

            init(_ hub: Hub) { self.hub = hub }

            func channelActive(_ context: ChannelContext) {
                self.context = context
                hub.members.append(self)
                context.fireChannelActive()
            }

            func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
                let bytes = unfinished + bytes.withUnsafeBytes { [UInt8]($0) }
                var rest = bytes[...]
                while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                    hub.send(Buffer([UInt8](rest[...end])), from: self)
                    rest = rest[(end + 1)...]
                }
                unfinished = [UInt8](rest)
            }

            func channelInactive(_ context: ChannelContext) {
                hub.members.removeAll { $0 === self }
                self.context = nil
            }
        }
    }
}
