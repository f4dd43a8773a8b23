import SwiftTransport
import Testing

extension Scenarios {
    /// A channel that drains takes nothing in any more, but it must read: the peer may be waiting for just that.
    struct DrainTests {
        private static let size = 4 << 20
        private static let patience = CloseMode.drain(within: .seconds(25))

        /// The peer reads only when it has said all it had to say, and reading is held back when the drain begins: whoever held
        /// it, nobody will let it go again.
        @Test(arguments: Place.all) func aDrainReadsWhoeverHeldReadingBack(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let mark = WaterMark(low: .kibibytes(32), high: .kibibytes(64), hardLimit: .mebibytes(64))
                let (channel, peer) = try await group.connection(place, .waterMark(mark)) { [BackPressureHandler()] }
                let pattern = Pattern(seed: 18)
                try await group.turn {
                    channel.writeAndFlush(Buffer(pattern.bytes(at: 0, count: Self.size)))
                }
                #expect(!channel.isWritable, "more than the kernel takes, so that back pressure holds reading")
                channel.close(Self.patience)
                let end = try await blocking {
                    try peer.write([UInt8](repeating: 1, count: Self.size))
                    let end = peer.readToEnd()
                    peer.close()
                    return end
                }
                #expect(end.error == 0 && end.bytes.count == Self.size)
                #expect(end.bytes.withUnsafeBytes { pattern.matches($0, at: 0) })
                await channel.closed()
            }
        }
    }
}
