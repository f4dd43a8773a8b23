import Glibc
import Testing

@testable import SwiftTransport

extension WritePath {
    /// Traps that other libraries fell into when a channel ends: Netty and SwiftNIO.
    @Suite struct CloseTraps {
        private static let small: [ChannelOption] = [
            .sendBuffer(4096), .waterMark(low: 1000, high: 2000, hardLimit: .mebibytes(64)),
        ]

        /// netty#17238: what the kernel is sending is the kernel's until its completion, whatever ends the output meanwhile. Nothing
        /// of it is freed, every byte arrives, and the channel closes.
        @Test(arguments: WritePath.engines)
        func endingTheOutputDoesNotCutASendInFlight(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let log = rig.log
                let payload = WritePath.bytes(300_000)
                let witness = try await rig.run { channel in
                    let buffer = Buffer(payload)
                    channel.writeAndFlush(buffer, promise: log.promise(0))
                    return Witness(buffer)
                }
                try await rig.until { $0.own.writing.inFlight }
                try await rig.run { channel in
                    channel.write(Buffer("queued"), promise: log.promise(1))
                    channel.shutdownOutput()
                    channel.write(Buffer("late"), promise: log.promise(2))
                }
                #expect(!witness.isFreed && log.done == [.done(2, .outputShutDown)])
                #expect(await rig.peer.readToEnd() == payload + Array("queued".utf8))
                await log.until(.notice)
                #expect(log.done == [.done(2, .outputShutDown), .done(0, nil), .done(1, nil)])
                // FIN_WAIT2 still reads (netty#11981).
                rig.peer.write(Array("answer".utf8))
                try await rig.until { $0.recorder.received == Array("answer".utf8) }
                rig.peer.endOutput()
                await rig.channel.closed()
                #expect(log.events.suffix(3) == [.inputClosed, .inactive, .note("removed")])
            }
        }

        /// netty#17238: the same for the hard ways. The memory is held until the send's completion, and free at the end.
        @Test(arguments: WritePath.engines, [CloseMode.immediate, .reset])
        func aSendInFlightMayBeCutOff(engine: Engine, mode: CloseMode) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let log = rig.log
                let witness = try await rig.run { channel in
                    let buffer = Buffer(WritePath.bytes(300_000))
                    channel.writeAndFlush(buffer, promise: log.promise(0))
                    return Witness(buffer)
                }
                try await rig.until { $0.own.writing.inFlight }
                try await rig.run { channel in
                    channel.close(mode)
                    #expect(log.done.isEmpty && !witness.isFreed)
                }
                await rig.channel.closed()
                #expect(witness.isFreed && log.done == [.done(0, .closed)])
                await rig.peer.readToEnd()
                // Never an end of stream behind a part of what was accepted.
                #expect(rig.peer.failure == ECONNRESET)
            }
        }

        /// netty#16718; swift-nio#2795, #2757: write, flush, close in one turn, or write and close without a flush, from anywhere:
        /// everything arrives, then the end.
        @Test(arguments: WritePath.engines, [true, false])
        func closeLosesNothing(engine: Engine, flushing: Bool) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let log = rig.log
                let all = WritePath.bytes(200_000)
                let whole = Buffer(all)
                for tag in 0..<100 {
                    rig.channel.write(whole[(tag * 2000)..<((tag + 1) * 2000)], promise: log.promise(tag))
                }
                if flushing { rig.channel.flush() }
                rig.channel.close(.drain(within: .seconds(600)))
                #expect(await rig.peer.readToEnd() == all)
                rig.peer.close()
                await rig.channel.closed()
                #expect(log.done == (0..<100).map { .done($0, nil) })
            }
        }

        /// grpc-swift-nio-transport#183: a graceful shutdown of the group sends what is queued.
        @Test(arguments: WritePath.engines)
        func shutdownLosesNothing(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let all = WritePath.bytes(200_000)
                rig.channel.write(Buffer(all), promise: rig.log.promise(0))
                async let report = rig.group.shutdown(within: .seconds(600))
                #expect(await rig.peer.readToEnd() == all)
                rig.peer.close()
                #expect(await report.isComplete)
                #expect(rig.log.done == [.done(0, nil)])
            }
        }

        /// swift-nio#3139: the peer's end of stream does not fail queued writes: without half closure they are sent, then the channel
        /// closes (Netty drops them); with it the channel stays.
        @Test(arguments: WritePath.engines, [true, false])
        func endOfInputDropsNothing(engine: Engine, halfClosure: Bool) async throws {
            let options = Self.small + [.allowHalfClosure(halfClosure)]
            try await WritePath.withRig(engine, options, receiveBuffer: 32768) { rig in
                let log = rig.log
                let payload = WritePath.bytes(200_000)
                try await rig.run { channel in
                    channel.recorder.onInputClosed = { context in context.write(Buffer("last words"), tag: 1) }
                    channel.write(Buffer(payload), promise: log.promise(0))
                    channel.flush()
                }
                try await rig.until { $0.own.writing.inFlight }
                rig.peer.endOutput()
                await log.until(.inputClosed)
                let isActive = try await rig.run { $0.isActive }
                #expect(isActive == halfClosure)
                if halfClosure {
                    rig.channel.flush()
                    await rig.peer.read(payload.count)
                    rig.channel.shutdownOutput()
                }
                #expect(await rig.peer.readToEnd() == payload + Array("last words".utf8))
                await rig.channel.closed()
                #expect(log.done == [.done(0, nil), .done(1, nil)])
                #expect(log.events.count { $0 == .inputClosed } == 1)
            }
        }

        /// swift-nio#2742, #2478: both ends at once, in either order: the channel closes and nobody hangs.
        @Test(arguments: WritePath.engines, [true, false])
        func bothDirectionsEndOnce(engine: Engine, peerFirst: Bool) async throws {
            try await WritePath.withRig(engine, [.allowHalfClosure(true)]) { rig in
                if peerFirst {
                    rig.peer.endOutput()
                    await rig.log.until(.inputClosed)
                    rig.channel.shutdownOutput()
                } else {
                    rig.channel.shutdownOutput()
                    await rig.log.until(.notice)
                    rig.peer.endOutput()
                }
                await rig.channel.closed()
                #expect(rig.log.events.suffix(2) == [.inactive, .note("removed")])
                await rig.peer.readToEnd()
                #expect(rig.peer.failure == 0)
            }
        }

        /// netty#14540, #13115, #14506: closed from many places and threads at once: one end, after the last completion, one
        /// descriptor given back.
        @Test(arguments: WritePath.engines)
        func closingManyTimesIsClosingOnce(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let log = rig.log
                for tag in 0..<10 {
                    rig.channel.writeAndFlush(Buffer(WritePath.bytes(30_000)), promise: log.promise(tag))
                }
                await withTaskGroup(of: Void.self) { group in
                    for mode in [CloseMode.graceful, .immediate, .reset, .graceful, .immediate] {
                        group.addTask { rig.channel.close(mode) }
                        group.addTask { await rig.channel.closed() }
                    }
                }
                #expect(log.done.count == 10)
                #expect(log.events.count { $0 == .inactive } == 1)
                #expect(log.events.suffix(2) == [.inactive, .note("removed")])
                #expect(await rig.loop.statistics()?.openEndpoints == 0)
            }
        }

        /// A second drain may only leave less time than the first; there is one timer at a time, and none when it is over.
        @Test(arguments: WritePath.engines, [true, false])
        func drainsOnlyGetShorter(engine: Engine, shortFirst: Bool) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let log = rig.log
                try await rig.run { channel in
                    channel.writeAndFlush(Buffer(WritePath.bytes(300_000)), promise: log.promise(0))
                }
                let long = CloseMode.drain(within: .seconds(600))
                let short = CloseMode.drain(within: .milliseconds(1))
                let timers = try await rig.run { channel in
                    for mode in shortFirst ? [short, long] : [long, short] { channel.close(mode) }
                    return channel.eventLoop.currentStatistics.armedTimers
                }
                #expect(timers == LoopEnd.timers + 1)
                await rig.channel.closed()
                #expect(log.done == [.done(0, .closed)])
                #expect(await rig.channel.result(of: Buffer("late"))?.code == .closed)
                let other = try await Rig.open(rig.group)
                other.channel.close(long)
                other.channel.close(.immediate)
                await other.channel.closed()
                #expect(await rig.loop.statistics()?.armedTimers == LoopEnd.timers)
            }
        }

        /// A shutdown without any time sends nothing more: what is queued is dropped and reported.
        @Test(arguments: WritePath.engines)
        func shutdownWithoutTimeSendsNothing(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                rig.channel.write(Buffer(WritePath.bytes(5000)), promise: log.promise(0))
                let report = await rig.group.shutdown(within: .zero)
                #expect(report.channelsCutOff == 1 && report.bytesDropped == 5000)
                #expect(log.done == [.done(0, .closed)])
                #expect(await rig.peer.readToEnd() == [])
            }
        }

        /// Reading that is switched off while a channel drains does not hide the peer's end from it.
        @Test(arguments: WritePath.engines)
        func readingSwitchedOffDoesNotHoldUpADrain(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                try await rig.run { channel in
                    channel.close(.drain(within: .seconds(600)))
                    channel.setAutomaticReading(false)
                }
                try await rig.turns()
                rig.channel.setAutomaticReading(true)
                rig.channel.setAutomaticReading(false)
                try await rig.turns()
                await rig.peer.readToEnd()
                rig.peer.close()
                await rig.channel.closed()
            }
        }

        /// Closes with the first piece.
        private final class OnlyOnce: ChannelHandler {
            let log: Log
            init(_ log: Log) { self.log = log }
            func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
                log.add(.note(String(Buffer(bytes.withUnsafeBytes { [UInt8]($0) }))))
                context.close(.immediate)
            }
            func channelReadComplete(_ context: ChannelContext) { log.add(.note("complete")) }
            func channelInactive(_ context: ChannelContext) { log.add(.inactive) }
        }

        /// netty#14913: a handler that closes gets no further piece, not even of those that are here already, and no completion.
        @Test(arguments: WritePath.engines, [true, false])
        func aReadMayClose(engine: Engine, kept: Bool) async throws {
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [OnlyOnce($0)] }) { rig in
                if kept {
                    try await rig.run { channel in
                        channel.setAutomaticReading(false)
                        channel.own.held = HeldInput()
                        channel.own.held?.input.append(ReadBytes(lending: Buffer("first")))
                        channel.own.held?.input.append(ReadBytes(lending: Buffer("second")))
                        channel.setAutomaticReading(true)
                    }
                } else {
                    rig.peer.write(Array("first".utf8))
                }
                await rig.channel.closed()
                #expect(rig.log.events == [.note("first"), .inactive])
            }
        }

        /// Before it is connected a channel has no output to end: nothing happens, and later it writes.
        @Test(arguments: WritePath.engines)
        func endingTheOutputTooEarlyIsRefused(engine: Engine) async throws {
            final class Early: ChannelHandler {
                func handlerAdded(_ context: ChannelContext) {
                    #expect(!context.channel.isActive)
                    context.channel.shutdownOutput()
                }
            }
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [Early(), Recorder($0)] }) { rig in
                try await rig.channel.send(Buffer("goes on"))
                #expect(await rig.peer.read(7) == Array("goes on".utf8))
            }
        }

        /// netty#14913, #14921: closed while bytes are coming in: no completion meets a slot that is gone, nothing is delivered after
        /// the end.
        @Test(arguments: WritePath.engines)
        func closingWhileReceivingDeliversNothingMore(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                for _ in 0..<20 {
                    let other = try await Rig.open(rig.group)
                    for _ in 0..<4 { other.peer.write(WritePath.bytes(16_000)) }
                    other.channel.close(.immediate)
                    await other.channel.closed()
                    #expect(other.log.events.suffix(2) == [.inactive, .note("removed")])
                }
                let statistics = try #require(await rig.loop.statistics())
                #expect(statistics.staleCompletions == 0 && statistics.openEndpoints == 1)
            }
        }
    }
}
