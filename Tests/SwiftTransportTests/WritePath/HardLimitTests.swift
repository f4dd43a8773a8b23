import SwiftTransport
import Testing

extension Scenarios {
    /// A peer that never reads. M1 to M6, W10, W27: the queue has an end, and what happens
    /// there is known.
    struct HardLimitTests {
        static let piece = 8 * 1024
        static let mark = WaterMark(low: .kibibytes(32), high: .kibibytes(64), hardLimit: .kibibytes(256))

        @Test(arguments: Place.all) func theQueueStopsAtItsLimit(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(
                    place, .waterMark(Self.mark), .sendBuffer(.kibibytes(16)), peerReceiveBuffer: 16 * 1024
                ) { [RecordingHandler(log)] }
                // Writes until one is refused: the peer does not read.
                let writes = Watched(0)
                while log.value.count(of: .completed(UInt64(writes.value), .outboundQueueFull)) == 0 {
                    try #require(writes.value < 10_000)
                    try await group.turn {
                        let tag = writes.value + 1
                        writes.update { $0 = tag }
                        let bytes = Pattern(seed: 8).bytes(at: (tag - 1) * Self.piece, count: Self.piece)
                        channel.pipeline.withContext(of: RecordingHandler.self) { context in
                            context.write(Buffer(bytes), tag: UInt64(tag))
                            context.flush()
                        }
                        #expect(channel.pendingBytes <= Self.mark.hardLimit.bytes)
                    }
                }
                #expect(channel.isActive)
                #expect(channel.pendingBytes > Self.mark.hardLimit.bytes - Self.piece - 48)
                let counts = try #require(await group.loops[0].statistics())
                #expect(counts.refusedWrites == 1)
                #expect(counts.slowChannelsClosed == 0)
                // The refused one is missing as a whole, and everything before it is there.
                let accepted = writes.value - 1
                let received = try await blocking { try peer.read(accepted * Self.piece) }
                #expect(received.withUnsafeBytes { Pattern(seed: 8).matches($0, at: 0) })
                let end = try await log.wait(for: "all completions") {
                    $0.count(of: .completed(UInt64(accepted), nil)) == 1
                }
                let successes = end.events.filter { if case .completed(_, nil) = $0 { true } else { false } }
                #expect(successes == (1...accepted).map { .completed(UInt64($0), nil) })
                #expect(end.count(of: .completed(UInt64(writes.value), .outboundQueueFull)) == 1)
                // W10, M4: exactly one edge in each direction.
                #expect(
                    end.events.filter { $0 == .writability(false) || $0 == .writability(true) }
                        == [.writability(false), .writability(true)])
            }
        }

        /// Nobody waits for the write, and its bytes would be missing from the middle of the stream.
        @Test(arguments: Place.all) func aWriteNobodyWaitsForEndsTheChannel(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(
                    place, .waterMark(Self.mark), .sendBuffer(.kibibytes(16)), peerReceiveBuffer: 16 * 1024
                ) { [RecordingHandler(log)] }
                let writes = Watched(0)
                while channel.isActive {
                    try #require(writes.value < 10_000)
                    try await group.turn {
                        channel.pipeline.withContext(of: RecordingHandler.self) { context in
                            let offset = writes.value * Self.piece
                            writes.update { $0 += 1 }
                            context.write(Buffer(Pattern(seed: 8).bytes(at: offset, count: Self.piece)))
                            context.flush()
                        }
                    }
                }
                let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                #expect(
                    end.events == [
                        .added, .active, .writability(false), .error(.outboundQueueFull), .inactive, .removed,
                    ])
                let counts = try #require(await group.loops[0].statistics())
                #expect(counts.slowChannelsClosed == 1)
                let received = try await blocking { peer.readToEnd() }
                #expect(received.bytes.withUnsafeBytes { Pattern(seed: 8).matches($0, at: 0) })
                #expect(received.bytes.count < writes.value * Self.piece)
            }
        }

        /// A write that has waited for its turn is taken beyond the limit; what a handler writes because of it is not: found in a
        /// simulated network.
        @Test(arguments: WritePath.engines) func whatAnswersAnAdmittedWriteIsRefused(engine: Engine) async throws {
            let refused = Watched<[TransportError.Code?]>([])
            let answered = Watched(false)
            let handlers: @Sendable (WritePath.Log) -> [any ChannelHandler] = { log in
                [
                    RecordingHandler(Watched(Recording())) {
                        $0.onWritability = { context in
                            guard !context.channel.isWritable, context.channel.pendingBytes > 4000, !answered.value
                            else { return }
                            answered.update { $0 = true }
                            context.write(
                                Buffer(WritePath.bytes(3000)),
                                promise: .callback { result in refused.update { $0.append(result?.code) } })
                        }
                    }
                ]
            }
            let options: [ChannelOption] = [.waterMark(low: 1, high: 1000, hardLimit: 2000), .sendBuffer(4096)]
            try await WritePath.withRig(engine, options, handlers: handlers) { rig in
                let channel = rig.channel
                let sending = Task { try await channel.send(Buffer(WritePath.bytes(1 << 20))) }
                #expect(await rig.peer.read(1 << 20).count == 1 << 20)
                try await sending.value
            }
            #expect(refused.value == [.outboundQueueFull])
        }

        /// M4, W20: whoever writes while the channel is writable, and goes on when it is again, gets everything across with no
        /// more than the high mark in memory. The flush happens inside the event.
        @Test(arguments: Place.all) func writingInWritabilityChangedGetsEverythingAcross(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let total = 3 << 20
                let log = Watched(Recording())
                let highest = Watched(0)
                let (_, peer) = try await group.connection(place, .sendBuffer(.kibibytes(32))) {
                    let sent = Watched(0)
                    let pump: (ChannelContext) -> Void = { context in
                        guard sent.value < total else { return }
                        while context.channel.isWritable, sent.value < total {
                            let offset = sent.value
                            sent.update { $0 += Self.piece }
                            context.write(Buffer(Pattern(seed: 21).bytes(at: offset, count: Self.piece)))
                            let pending = context.channel.pendingBytes
                            highest.update { $0 = max($0, pending) }
                        }
                        context.flush()
                        if sent.value >= total { context.close() }
                    }
                    return [
                        RecordingHandler(log) {
                            $0.onActive = pump
                            $0.onWritability = { context in if context.channel.isWritable { pump(context) } }
                        }
                    ]
                }
                let received = try await blocking { peer.readToEnd() }
                #expect(received.bytes.count == total)
                #expect(received.bytes.withUnsafeBytes { Pattern(seed: 21).matches($0, at: 0) })
                #expect(highest.value <= 64 * 1024 + Self.piece + 48)
                peer.close()
                let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                // Edges alternate: no event is repeated, none is missing.
                let edges = end.events.filter { $0 == .writability(false) || $0 == .writability(true) }
                #expect(edges.count >= 2)
                #expect(edges.enumerated().allSatisfy { $1 == .writability($0 % 2 == 1) })
            }
        }
    }
}
