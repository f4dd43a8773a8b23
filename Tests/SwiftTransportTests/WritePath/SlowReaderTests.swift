import Testing

@testable import SwiftTransport

extension WritePath {
    /// M6: a thousand connections that never read.
    @Suite(.serialized) struct SlowReaders {
        private static let connections = 1000
        private static let writeSize = 1000
        private static let mark = WaterMark(low: .kibibytes(8), high: .kibibytes(16))

        /// Writes as fast as the channel is writable, and counts how its writes end.
        private final class Writer: ChannelHandler {
            static let interests: ChannelEvents = [.active, .writabilityChanged, .inactive]
            private let log: Log
            private let payload: Buffer
            private var started: UInt64 = 0
            private var ended: UInt64 = 0

            init(_ log: Log, _ payload: Buffer) {
                self.log = log
                self.payload = payload
            }
            func channelActive(_ context: ChannelContext) { fill(context) }
            func channelWritabilityChanged(_ context: ChannelContext) { fill(context) }
            func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) {
                // Exactly once, in order: the tags are those that were given out.
                if tag == ended { ended += 1 } else { log.add(.note("write \(tag) ended after \(ended)")) }
            }
            func channelInactive(_ context: ChannelContext) {
                log.add(started == ended && started > 0 ? .inactive : .note("\(started) begun, \(ended) ended"))
            }
            private func fill(_ context: ChannelContext) {
                while context.channel.isWritable {
                    context.write(payload, tag: started)
                    started += 1
                }
                context.flush()
            }
        }

        /// Memory stays within a thousand times the high mark and one write; nothing spins; when they are cut off every promise
        /// completes exactly once.
        @Test(arguments: WritePath.engines)
        func memoryIsBounded(engine: Engine) async throws {
            var options = LoopOptions()
            options.engine = .only(engine)
            let group = try EventLoopGroup(loops: 1, options: options)
            let loop = group.loops[0]
            let log = Log()
            let payload = Buffer(WritePath.bytes(Self.writeSize))
            let server = try await ServerBootstrap(group: group)
                .childOptions(.sendBuffer(4096), .waterMark(Self.mark))
                .childHandlers { [Writer(log, payload)] }
                .bind(host: "127.0.0.1", port: 0)
            var peers: [Peer] = []
            for _ in 0..<Self.connections {
                peers.append(try WritePath.connect(to: server.localAddress, receiveBuffer: 4096))
            }

            // Until every one of them is full and the kernel takes no more.
            var sends: UInt64 = .max
            var settled = false
            while !settled, !Task.isCancelled {
                let statistics = try #require(await loop.statistics())
                guard statistics.sends == sends else {
                    sends = statistics.sends
                    await Task.yield()
                    continue
                }
                let full = await loop.run {
                    let channels = loop.own.channels.all.compactMap { $0 as? Channel }
                    return channels.count == Self.connections && channels.allSatisfy { !$0.isWritable }
                }
                settled = full == true
                await Task.yield()
            }
            let most = Self.mark.high.bytes + WritePath.pending(Self.writeSize)
            let levels = try #require(
                await loop.run { loop.own.channels.all.compactMap { ($0 as? Channel)?.pendingBytes } })
            #expect(levels.count == Self.connections)
            #expect(levels.allSatisfy { $0 <= most && $0 >= Self.mark.low.bytes })
            let statistics = try #require(await loop.statistics())
            #expect(statistics.queuedBytes == levels.reduce(0, +))
            #expect(statistics.queuedBytes <= Self.connections * most)
            #expect(statistics.refusedWrites == 0 && statistics.completionOverflows == 0)

            await group.shutdown(within: .zero)
            #expect(log.events.count == Self.connections)
            #expect(log.events.allSatisfy { $0 == .inactive })
            withExtendedLifetime(peers) {}
        }
    }
}
