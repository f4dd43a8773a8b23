import SwiftTransport
import Testing

@testable import struct SwiftTransport.OutboundMemory

extension Scenarios {
    /// Where the library changes its mind about a write (copied behind others, copied alone, shared with the receive
    /// memory, several vectors, several sends), one byte less and one more must make no difference.
    struct ThresholdTests {
        /// How the server sends back what it got.
        enum Style: String, CaseIterable, Sendable { case lent, taken, copied, span }

        static let sizes = [
            1, 1023, 1024, 1025, OutboundMemory.blockCapacity - 1, OutboundMemory.blockCapacity,
            OutboundMemory.blockCapacity + 1, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537,
        ]

        /// Several connections at once, because what one of them writes too much lands in its neighbour's memory.
        @Test(arguments: Place.all, Style.allCases) func echoIsExactAroundEveryThreshold(_ place: Place, _ style: Style)
            async throws
        {
            try await echo(place, style, LoopOptions())
        }

        /// The thresholds are the user's to choose: nothing is copied that need not be, or everything that can.
        @Test(arguments: Place.all, Style.allCases) func echoIsExactWithoutThresholds(_ place: Place, _ style: Style)
            async throws
        {
            var options = LoopOptions()
            (options.copyLimit, options.shareThreshold) = (0, 0)
            try await echo(place, style, options)
            (options.copyLimit, options.shareThreshold) = (.bytes(.max), .bytes(.max))
            try await echo(place, style, options)
        }

        private func echo(_ place: Place, _ style: Style, _ options: LoopOptions) async throws {
            try await withGroup(place.engine, options: options) { group in
                let server = try await group.serve(place) { [StyledEcho(style)] }
                let wrong = try await blocking {
                    let peers = try (0..<8).map { _ in try RawSocket.connect(to: server.address) }
                    var wrong: Set<Int> = []
                    for round in 0..<3 {
                        for size in Self.sizes {
                            let patterns = peers.indices.map {
                                Pattern(seed: UInt64(size * 10_007 + round * 31 + $0 * 7))
                            }
                            for (peer, pattern) in zip(peers, patterns) {
                                try peer.write(pattern.bytes(at: 0, count: size))
                            }
                            for (peer, pattern) in zip(peers, patterns) {
                                let echo = try peer.read(size)
                                if echo != pattern.bytes(at: 0, count: size) { wrong.insert(size) }
                            }
                        }
                    }
                    return wrong
                }
                #expect(wrong == [])
            }
        }
    }
}

private final class StyledEcho: ChannelHandler {
    static let interests: ChannelEvents = [.read, .readComplete]
    private let style: Scenarios.ThresholdTests.Style
    init(_ style: Scenarios.ThresholdTests.Style) { self.style = style }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        switch style {
        case .lent: context.write(bytes)
        case .taken: context.write(Buffer(bytes))
        case .copied: context.write(Buffer(copying: bytes.span))
        case .span: context.write(bytes.span)
        }
    }
    func channelReadComplete(_ context: ChannelContext) { context.flush() }
}
