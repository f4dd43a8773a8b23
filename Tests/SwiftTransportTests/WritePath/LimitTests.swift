import Testing

@testable import SwiftTransport

extension WritePath {
    /// W10, M6: the queue has an end, per channel and per loop, and what happens there is stated and counted.
    @Suite struct Limits {
        private static let mark = WaterMark(low: 500, high: 1000, hardLimit: 2000)

        /// `.failWrite`: that write fails with nothing queued, the others stay, the next ones fit again.
        @Test(arguments: WritePath.engines)
        func aWriteAtTheLimitFails(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(Self.mark)]) { rig in
                let log = rig.log
                let witness = try await rig.run { channel in
                    channel.write(Buffer(WritePath.bytes(1500)), promise: log.promise(0))
                    // Exactly at the limit still fits.
                    channel.write(
                        Buffer(WritePath.bytes(2000 - channel.pendingBytes - 48)), promise: log.promise(1))
                    #expect(channel.pendingBytes == 2000)
                    let buffer = Buffer(WritePath.bytes(1025))
                    channel.write(buffer, promise: log.promise(2))
                    channel.write(Buffer(), promise: log.promise(3))
                    #expect(log.done == [.done(2, .outboundQueueFull), .done(3, .outboundQueueFull)])
                    #expect(channel.pendingBytes == 2000 && channel.isActive)
                    channel.flush()
                    return Witness(buffer)
                }
                #expect(witness.isFreed)
                try await rig.until { $0.pendingBytes == 0 }
                try await rig.channel.send(Buffer("again"))
                let statistics = try #require(await rig.loop.statistics())
                #expect(statistics.refusedWrites == 2 && statistics.slowChannelsClosed == 0)
            }
        }

        /// `.closeChannel`: the write fails and the slow reader is closed; its handlers hear why, every write is told.
        @Test(arguments: WritePath.engines)
        func theLimitMayCloseTheChannel(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(Self.mark), .atHardLimit(.closeChannel)]) { rig in
                let log = rig.log
                try await rig.run { channel in
                    channel.write(Buffer(WritePath.bytes(1500)), promise: log.promise(0))
                    channel.write(Buffer(WritePath.bytes(1500)), promise: log.promise(1))
                }
                await rig.channel.closed()
                #expect(
                    log.events.suffix(5) == [
                        .done(1, .outboundQueueFull), .error(.outboundQueueFull), .done(0, .closed), .inactive,
                        .note("removed"),
                    ])
                let statistics = try #require(await rig.loop.statistics())
                #expect(statistics.refusedWrites == 1 && statistics.slowChannelsClosed == 1)
            }
        }

        /// A write that nobody waits for must not vanish from the middle of the stream: it ends the channel.
        @Test(arguments: WritePath.engines, [true, false])
        func aRefusedWriteNobodyWaitsForEndsTheChannel(engine: Engine, onLoop: Bool) async throws {
            try await WritePath.withRig(engine, [.waterMark(Self.mark)]) { rig in
                if onLoop {
                    try await rig.run { channel in for _ in 0..<2 { channel.write(Buffer(WritePath.bytes(1500))) } }
                } else {
                    for _ in 0..<2 { rig.channel.write(Buffer(WritePath.bytes(1500))) }
                }
                await rig.channel.closed()
                #expect(rig.log.events.contains(.error(.outboundQueueFull)))
                #expect(await rig.loop.statistics()?.slowChannelsClosed == 1)
            }
        }

        /// An empty queue takes one write of any size, or a large one could never be sent at all.
        @Test(arguments: WritePath.engines)
        func anEmptyQueueTakesOneOfAnySize(engine: Engine) async throws {
            var options = LoopOptions()
            options.outboundBudget = 100
            try await WritePath.withRig(engine, [.waterMark(Self.mark)], loop: options) { rig in
                let payload = WritePath.bytes(100_000)
                let task = Task { [channel = rig.channel] in try await channel.send(Buffer(payload)) }
                #expect(await rig.peer.read(payload.count) == payload)
                try await task.value
            }
        }

        /// W10: a file counts as its window at the limit too, however large it is.
        @Test(arguments: WritePath.engines)
        func aLargeFileCountsAsItsWindow(engine: Engine) async throws {
            let file = try ScratchFile(300_000)
            let room = WritePath.pending(1000 + FileRegion.windowSize, writes: 2)
            let mark = WaterMark(low: 500, high: 1000, hardLimit: ByteCount(room))
            try await WritePath.withRig(engine, [.waterMark(mark)]) { rig in
                let region = try FileRegion(path: file.path)
                let log = rig.log
                try await rig.run { channel in
                    channel.write(Buffer(WritePath.bytes(1000)), promise: log.promise(0))
                    channel.write(region, promise: log.promise(1))
                    channel.flush()
                }
                #expect(await rig.peer.read(301_000) == WritePath.bytes(1000) + file.bytes)
                await log.untilDone(2)
                #expect(log.done == [.done(0, nil), .done(1, nil)])
            }
        }

        /// Exactly the budget fits, one byte more does not; and the error names the limit that was exceeded, not one that was met.
        @Test(arguments: WritePath.engines)
        func theBudgetIsExact(engine: Engine) async throws {
            var options = LoopOptions()
            options.outboundBudget = 1500
            try await WritePath.withRig(engine, [.waterMark(Self.mark)], loop: options) { rig in
                let log = rig.log
                try await rig.run { channel in
                    channel.write(Buffer(WritePath.bytes(1000)), promise: log.promise(0))
                    let overhead = WaterMark.entryOverhead.bytes
                    // Up to the channel's own limit, which is not exceeded.
                    let most = 2000 - channel.pendingBytes - overhead
                    channel.write(Buffer(WritePath.bytes(most)), promise: log.promise(1))
                    channel.write(Buffer(WritePath.bytes(most + 1)), promise: log.promise(2))
                    let rest = 1500 - channel.pendingBytes - overhead
                    channel.write(Buffer(WritePath.bytes(rest + 1)), promise: log.promise(3))
                    #expect(
                        log.done == [
                            .done(1, .loopBudgetExhausted), .done(2, .outboundQueueFull),
                            .done(3, .loopBudgetExhausted),
                        ])
                    channel.write(Buffer(WritePath.bytes(rest)), promise: log.promise(4))
                    #expect(channel.pendingBytes == 1500 && log.done.count == 3)
                }
            }
        }

        /// The loop's budget, over all its channels, with both policies, on the loop and off it.
        @Test(arguments: WritePath.engines, [WaterMark.Overflow.failWrite, .closeChannel])
        func theLoopsBudgetHoldsOverAllChannels(engine: Engine, policy: WaterMark.Overflow) async throws {
            var options = LoopOptions()
            options.outboundBudget = 10_000
            options.atOutboundBudget = policy
            try await WritePath.withRig(engine, loop: options) { rig in
                let other = try await Rig.open(rig.group)
                let log = rig.log
                try await rig.run { [channel = other.channel] mine in
                    channel.write(Buffer(WritePath.bytes(8000)))
                    mine.write(Buffer(WritePath.bytes(1000)), promise: log.promise(0))
                    mine.write(Buffer(WritePath.bytes(1000)), promise: log.promise(1))
                    #expect(
                        mine.eventLoop.currentStatistics.queuedBytes == WritePath.pending(9000, writes: 2)
                            || policy == .closeChannel)
                }
                await log.until(.done(1, .loopBudgetExhausted))
                let statistics = try #require(await rig.loop.statistics())
                #expect(statistics.refusedWrites == 1)
                #expect(statistics.slowChannelsClosed == (policy == .closeChannel ? 1 : 0))
                #expect(other.channel.isActive)
                if policy == .closeChannel {
                    await rig.channel.closed()
                    #expect(log.events.contains(.error(.loopBudgetExhausted)))
                } else {
                    #expect(rig.channel.isActive)
                    rig.channel.write(Buffer("off"), promise: log.promise(2))
                    other.channel.flush()
                    try await rig.until { [channel = other.channel] _ in channel.pendingBytes == 0 }
                    #expect(await rig.channel.result(of: Buffer("fits")) == nil)
                }
            }
        }
    }
}
