import SwiftTransport
import Testing
import TransportTesting

/// A write that goes without a copy and in parts counts for less with each part, and as a whole again when it has gone, until the kernel
/// lets go of its memory. What the channel says of itself follows (M3). Found by seed 65221 of the torture.
@Suite struct ZeroCopyLevelTests {
    private static let high = 50_000

    /// Reads for a moment, now and then.
    private final class Sipping: ChannelHandler {
        static let interests: ChannelEvents = [.active, .read]
        func channelActive(_ context: ChannelContext) {
            context.channel.setAutomaticReading(false)
            sip(context)
        }
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.channel.setAutomaticReading(false) }
        private func sip(_ context: ChannelContext) {
            context.schedule(after: .milliseconds(3)) { [self] context in
                context.channel.setAutomaticReading(true)
                sip(context)
            }
        }
    }

    @Test(arguments: 1...12 as ClosedRange<UInt64>) func aChannelAboveItsHighMarkIsNotWritable(seed: UInt64)
        async throws
    {
        try await simulated(.uring, seed: seed) { network in
            let server = network.addHost("server")
            let client = network.addHost("client")
            let bound = try await ServerBootstrap(group: server.makeGroup())
                .childHandlers { [Sipping()] }
                .childOptions(.receiveBuffer(.kibibytes(16)))
                .bind(host: "0.0.0.0", port: 7000)
            let channel = try await ClientBootstrap(group: client.makeGroup())
                .options(
                    .zeroCopy(from: .kibibytes(32)), .sendBuffer(.kibibytes(20)),
                    .waterMark(low: .bytes(25_000), high: .bytes(Self.high))
                )
                .connect(host: "server", port: 7000)
            for _ in 0..<2000 {
                if channel.pendingBytes == 0 {
                    channel.writeAndFlush(Buffer([UInt8](repeating: 1, count: 55_000 + network.random(below: 10_000))))
                }
                await network.advance(by: .microseconds(200))
                let (isWritable, pending) =
                    await channel.eventLoop.run { (channel.isWritable, channel.pendingBytes) } ?? (false, 0)
                #expect(!isWritable || pending <= Self.high)
            }
            channel.close(.reset)
            bound.close()
        }
    }
}
