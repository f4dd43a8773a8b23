import Testing

@testable import SwiftTransport

extension WritePath {
    /// The kernel takes a part; a slow reader decides how much.
    @Suite struct PartialWrites {
        private static let small: [ChannelOption] = [
            .sendBuffer(4096), .waterMark(low: 1000, high: 2000, hardLimit: .mebibytes(64)),
        ]

        /// W16, W18, W20, W23 (netty#2761): hundreds of writes of many sizes, through a straw: every byte right, completions in
        /// order.
        @Test(arguments: WritePath.engines)
        func hundredsOfWritesGoThroughAStraw(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let sizes = (0..<400).map { ($0 * 37) % 3001 }
                let all = WritePath.bytes(sizes.reduce(0, +))
                let log = rig.log
                try await rig.run { channel in
                    var offset = 0
                    let whole = Buffer(all)
                    for (tag, size) in sizes.enumerated() {
                        channel.write(whole[offset..<(offset + size)], promise: log.promise(tag))
                        offset += size
                    }
                    channel.flush()
                }
                #expect(await rig.peer.read(all.count, piece: 1777) == all)
                await log.untilDone(sizes.count)
                #expect(log.done == sizes.indices.map { .done($0, nil) })
            }
        }

        /// W20, W21, P2: progress rises strictly, stays below the total, keeps the total, and ends with the completion. What is
        /// pending goes down with it, not only when the whole write is gone.
        @Test(arguments: WritePath.engines, [true, false])
        func progressRisesToItsTotal(engine: Engine, byHandler: Bool) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let log = rig.log
                let total = 300_000
                let payload = WritePath.bytes(total)
                try await rig.run { channel in
                    if byHandler {
                        let context = channel.recorderContext
                        context.write(Buffer(payload), promise: .handler(context, tag: 7, progress: true))
                        channel.flush()
                    } else {
                        channel.writeAndFlush(Buffer(payload), promise: log.progressPromise(7))
                    }
                }
                await log.until { $0.contains { if case .progress = $0 { true } else { false } } }
                let (written, pending) = try await rig.run { channel in
                    (channel.own.queue?.headOffset ?? 0, channel.pendingBytes)
                }
                #expect(written > 0 && pending == WritePath.pending(total - written))
                #expect(await rig.peer.read(total) == payload)
                await log.untilDone(1)
                let steps = log.events.compactMap { event -> Int? in
                    guard case .progress(7, let written, total) = event else { return nil }
                    return written
                }
                #expect(steps.count >= 2)
                #expect(zip(steps, steps.dropFirst()).allSatisfy { $0 < $1 })
                #expect(steps.allSatisfy { 0 < $0 && $0 < total })
                let last = log.events.lastIndex { if case .progress = $0 { true } else { false } }!
                #expect(log.events.firstIndex(of: .done(7, nil))! > last)
            }
        }

        /// P2: progress may close the channel: the write fails, and the rest with it.
        @Test(arguments: WritePath.engines)
        func progressMayClose(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let log = rig.log
                try await rig.run { channel in
                    channel.write(
                        Buffer(WritePath.bytes(300_000)),
                        promise: .callback(progress: { _ in channel.close(.immediate) }, log.completion(0)))
                    channel.write(Buffer("behind"), promise: log.promise(1))
                    channel.flush()
                }
                await rig.channel.closed()
                #expect(log.done == [.done(0, .closed), .done(1, .closed)])
            }
        }

        /// W18, W19: a full kernel is waited for, not asked again and again.
        @Test(arguments: WritePath.engines)
        func aFullKernelIsNotSpunOn(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                try await rig.fillKernel(with: Buffer(WritePath.bytes(300_000)))
                let before = try #require(await rig.loop.statistics())
                try await rig.turns(50)
                let after = try #require(await rig.loop.statistics())
                // The window may open a little more behind our back, and each time makes a send and a turn; spinning makes one in
                // each of the fifty.
                #expect(after.sends - before.sends <= 8)
                #expect(after.turns - before.turns <= 70)
            }
        }

        /// W17, W19: a channel that could send for ever does not keep the others of its loop waiting.
        @Test(arguments: WritePath.engines)
        func othersGetTheirTurn(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(low: 1000, high: 2000, hardLimit: .mebibytes(64))]) { rig in
                let other = try await Rig.open(rig.group)
                #expect(other.loop === rig.loop)
                let log = rig.log
                try await rig.run { [channel = other.channel] busy in
                    for tag in 0..<8 { busy.write(Buffer(WritePath.bytes(1 << 20)), promise: log.promise(tag)) }
                    busy.flush()
                    channel.writeAndFlush(Buffer("small"), promise: log.promise(100))
                }
                await log.until(.done(100, nil))
                // One send each turn, and one at once for the high mark: the small one is done when the large ones have had both.
                #expect(try #require(log.done.firstIndex(of: .done(100, nil))) <= 2)
                #expect(await other.peer.read(5) == Array("small".utf8))
                #expect(await rig.peer.read(8 << 20).count == 8 << 20)
            }
        }
    }
}
