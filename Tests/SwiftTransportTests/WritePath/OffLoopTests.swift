import Synchronization
import Testing

@testable import SwiftTransport

extension WritePath {
    /// Writing from other threads.
    @Suite struct OffLoop {
        /// W3, W24: writes and flushes from elsewhere keep their order.
        @Test(arguments: WritePath.engines)
        func everyThreadsOrderIsKept(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                for index in 0..<500 {
                    let piece = Buffer(WritePath.bytes(37, seed: index * 37))
                    if index % 7 == 0 {
                        rig.channel.writeAndFlush(piece, promise: log.promise(index))
                    } else {
                        rig.channel.write(piece, promise: log.promise(index))
                    }
                }
                rig.channel.flush()
                #expect(await rig.peer.read(500 * 37) == WritePath.bytes(500 * 37))
                await log.untilDone(500)
                #expect(log.done == (0..<500).map { .done($0, nil) })
            }
        }

        /// W3: a write that finds its loop gone fails, and its memory is free at once (Netty: testWriteTaskRejected).
        @Test(arguments: WritePath.engines)
        func aWriteToALoopThatIsGoneFails(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                await rig.group.shutdown(within: .zero)
                var buffer = Buffer(WritePath.bytes(5000))
                let witness = Witness(buffer)
                rig.channel.write(buffer, promise: rig.log.promise(1))
                rig.channel.writeAndFlush(buffer, promise: rig.log.promise(2))
                rig.channel.write(message: 3, promise: rig.log.promise(3))
                #expect(rig.log.done == [1, 2, 3].map { .done($0, .loopShutDown) })
                #expect(await rig.channel.result(of: buffer) == TransportError(.loopShutDown))
                #expect(rig.channel.pendingBytes == 0)
                buffer = Buffer()
                #expect(witness.isFreed)
            }
        }

        /// netty#1697, netty#7053: counted at once, on the way to the loop, and only once when it gets there, with one event.
        @Test(arguments: WritePath.engines)
        func bytesAreCountedAtOnceAndOnce(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(low: 500, high: 1000)]) { rig in
                let gate = await Gate(rig.loop)
                let pieces = 4
                for _ in 0..<pieces { rig.channel.write(Buffer(WritePath.bytes(300))) }
                let expected = WritePath.pending(300 * pieces, writes: pieces)
                #expect(rig.channel.pendingBytes == expected)
                #expect(!rig.channel.isWritable)
                #expect(rig.channel.bytesBeforeUnwritable == 0)
                gate.open()
                try await rig.turns()
                #expect(rig.channel.pendingBytes == expected)
                #expect(rig.log.writable == [false])
                rig.channel.flush()
                await rig.log.until { $0.contains(.writable(true)) }
                #expect(rig.log.writable == [false, true])
            }
        }

        /// netty#4739, netty#3565: who sees `isWritable == false` from another thread and waits is told when that is over, also
        /// when the queue itself never rose above its mark.
        @Test(arguments: WritePath.engines)
        func unwritableOnTheWayIsHealed(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(low: 500, high: 1000)]) { rig in
                let gate = await Gate(rig.loop)
                rig.channel.writeAndFlush(Buffer(WritePath.bytes(700)))
                // More work than one turn does: the second write meets the first one gone.
                for _ in 0..<600 { rig.loop.execute {} }
                rig.channel.writeAndFlush(Buffer(WritePath.bytes(700)))
                #expect(!rig.channel.isWritable)
                gate.open()
                await rig.peer.read(1400)
                try await rig.until { $0.pendingBytes == 0 }
                #expect(rig.channel.isWritable)
                await rig.log.until { $0.last == .writable(true) }
                #expect(rig.log.writable.last == true)
            }
        }

        /// The same for one that awaits its write.
        @Test(arguments: WritePath.engines)
        func awaitedWritesHealToo(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(low: 500, high: 1000)]) { rig in
                let gate = await Gate(rig.loop)
                let channel = rig.channel
                channel.writeAndFlush(Buffer(WritePath.bytes(700)))
                // More work than one turn does: the second write meets the first one gone.
                for _ in 0..<600 { rig.loop.execute {} }
                let task = Task { await channel.result(of: Buffer(WritePath.bytes(700))) }
                while channel.isWritable, !Task.isCancelled { await Task.yield() }
                gate.open()
                #expect(await task.value == nil)
                await rig.peer.read(1400)
                await rig.log.until { $0.last == .writable(true) }
                #expect(channel.isWritable)
            }
        }

        /// M5: on the way to the loop too a level at the mark is not above it: nobody saw it unwritable, nobody is told.
        @Test(arguments: WritePath.engines)
        func aLevelAtTheMarkIsNotAboveItOnTheWay(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(low: 500, high: 1000)]) { rig in
                let gate = await Gate(rig.loop)
                rig.channel.write(Buffer(WritePath.bytes(1000 - WaterMark.entryOverhead.bytes)))
                #expect(rig.channel.pendingBytes == 1000 && rig.channel.isWritable)
                #expect(rig.channel.bytesBeforeUnwritable == 1)
                gate.open()
                try await rig.turns()
                #expect(rig.log.writable.isEmpty)
            }
        }

        /// netty#7053: told once: the event of the queue itself is also that of who was seen on the way.
        @Test(arguments: WritePath.engines)
        func anEdgeIsToldOnce(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(low: 500, high: 1000)]) { rig in
                rig.channel.writeAndFlush(Buffer(WritePath.bytes(2000)))
                await rig.log.until(.writable(true))
                rig.channel.writeAndFlush(Buffer("small"))
                await rig.peer.read(2005)
                try await rig.turns()
                #expect(rig.log.writable == [false, true])
            }
        }

        /// W10: exactly the limit fits on the way, one byte more does not.
        @Test(arguments: WritePath.engines)
        func theLimitOnTheWayIsExact(engine: Engine) async throws {
            let mark = WaterMark(low: 500, high: 1000, hardLimit: 2000)
            try await WritePath.withRig(engine, [.waterMark(mark)]) { rig in
                let log = rig.log
                let gate = await Gate(rig.loop)
                rig.channel.write(Buffer(WritePath.bytes(1000)), promise: log.promise(0))
                let most = 2000 - WritePath.pending(1000, writes: 2)
                rig.channel.write(Buffer(WritePath.bytes(most + 1)), promise: log.promise(1))
                rig.channel.write(Buffer(WritePath.bytes(most)), promise: log.promise(2))
                #expect(rig.channel.pendingBytes == 2000)
                gate.open()
                rig.channel.flush()
                await log.untilDone(3)
                #expect(log.done == [.done(1, .outboundQueueFull), .done(0, nil), .done(2, nil)])
            }
        }

        /// A task's write for which there is no room on the way to the loop waits there: awaiting is the back pressure.
        @Test(arguments: WritePath.engines)
        func awaitedWritesWaitOnTheWay(engine: Engine) async throws {
            let mark = WaterMark(low: 500, high: 6000, hardLimit: 10_000)
            try await WritePath.withRig(engine, [.waterMark(mark)]) { rig in
                let gate = await Gate(rig.loop)
                let channel = rig.channel
                channel.writeAndFlush(Buffer(WritePath.bytes(5000)))
                for _ in 0..<600 { rig.loop.execute {} }
                let task = Task { await channel.result(of: Buffer(WritePath.bytes(8000))) }
                while !channel.isAheadOfLoop.load(ordering: .relaxed), !Task.isCancelled { await Task.yield() }
                gate.open()
                #expect(await rig.peer.read(13_000) == WritePath.bytes(5000) + WritePath.bytes(8000))
                #expect(await task.value == nil)
            }
        }

        /// The hard limit holds off the loop too: counted, told on the loop, and with its policy.
        @Test(arguments: WritePath.engines)
        func theHardLimitHoldsOffTheLoop(engine: Engine) async throws {
            let mark = WaterMark(low: 500, high: 1000, hardLimit: 2000)
            try await WritePath.withRig(engine, [.waterMark(mark)]) { rig in
                rig.channel.write(Buffer(WritePath.bytes(1500)))
                let (log, loop) = (rig.log, rig.loop)
                rig.channel.write(
                    Buffer(WritePath.bytes(1500)),
                    promise: .callback { result in
                        log.add(.note(loop.isCurrent ? "on the loop" : "elsewhere"))
                        log.add(.done(1, result?.code))
                    })
                await log.untilDone(1)
                #expect(log.done == [.done(1, .outboundQueueFull)])
                #expect(log.events.contains(.note("on the loop")))
                #expect(await rig.loop.statistics()?.refusedWrites == 1)
                #expect(rig.channel.isActive)
            }
        }

        /// W10: the limit counts what is on its way: while the loop is busy, what others write does not fill memory.
        @Test(arguments: WritePath.engines)
        func theLimitCountsWhatIsOnTheWay(engine: Engine) async throws {
            let mark = WaterMark(low: 500, high: 1000, hardLimit: 10_000)
            try await WritePath.withRig(engine, [.waterMark(mark)]) { rig in
                let gate = await Gate(rig.loop)
                rig.channel.write(Buffer(WritePath.bytes(5000)), promise: rig.log.promise(0))
                let witness = {
                    let buffer = Buffer(WritePath.bytes(8000))
                    rig.channel.write(buffer, promise: rig.log.promise(1))
                    return Witness(buffer)
                }()
                #expect(witness.isFreed)
                #expect(rig.channel.pendingBytes == WritePath.pending(5000))
                gate.open()
                await rig.log.until(.done(1, .outboundQueueFull))
            }
        }

        /// The same with `.closeChannel`.
        @Test(arguments: WritePath.engines)
        func aRefusalOffTheLoopMayClose(engine: Engine) async throws {
            let mark = WaterMark(low: 500, high: 1000, hardLimit: 2000)
            try await WritePath.withRig(engine, [.waterMark(mark), .atHardLimit(.closeChannel)]) { rig in
                rig.channel.write(Buffer(WritePath.bytes(1500)), promise: rig.log.promise(0))
                rig.channel.write(Buffer(WritePath.bytes(1500)), promise: rig.log.promise(1))
                await rig.channel.closed()
                #expect(Set(rig.log.done) == [.done(0, .closed), .done(1, .outboundQueueFull)])
                #expect(await rig.loop.statistics()?.slowChannelsClosed == 1)
            }
        }
    }
}
