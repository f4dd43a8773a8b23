import Testing

@testable import SwiftTransport

extension WritePath {
    /// Completions that write, flush and close (W13: that is what `inFlush0` is for).
    @Suite struct Reentrancy {
        /// W13, ReentrantChannelTest.testWriteFlushPingPong and NioSocketChannelTest.testFlushAfterGatheredFlush: what a
        /// completion writes goes out, behind what was there, without recursion.
        @Test(arguments: WritePath.engines)
        func aCompletionMayWriteAndFlush(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let rounds: UInt64 = 3000
                try await rig.run { channel in
                    channel.recorder.onCompleted = { context, tag in
                        guard tag < rounds else { return }
                        context.write(Buffer([UInt8(truncatingIfNeeded: tag + 1)]), tag: tag + 1)
                        context.flush()
                    }
                    channel.recorderContext.write(Buffer([0]), tag: 0)
                    channel.flush()
                }
                let expected = (0...rounds).map { UInt8(truncatingIfNeeded: $0) }
                #expect(await rig.peer.read(Int(rounds) + 1) == expected)
                await rig.log.untilDone(Int(rounds) + 1)
                #expect(rig.log.done == (0...Int(rounds)).map { .done($0, nil) })
            }
        }

        /// Whoever writes empty buffers for ever, from completion to completion, leaves the loop its turns (W19's promise).
        @Test(arguments: WritePath.engines, ["", "first"])
        func endlessEmptyWritesLeaveTheLoopItsTurns(engine: Engine, first: String) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                try await rig.run { channel in
                    channel.recorder.onCompleted = { context, tag in
                        guard context.channel.isActive else { return }
                        context.write(Buffer(), tag: tag)
                        context.flush()
                    }
                    channel.recorderContext.write(Buffer(first), tag: 0)
                    channel.flush()
                }
                await log.untilDone(1000)
                let another = try await Rig.open(rig.group)
                try await another.channel.send(Buffer("another"))
                #expect(await another.peer.read(7) == Array("another".utf8))
                rig.channel.close(.immediate)
                await rig.channel.closed()
                #expect(log.done.dropLast().allSatisfy { $0 == .done(0, nil) } && log.done.last == .done(0, .closed))
            }
        }

        /// Flushed for its next turn and closed in this one: it is not on the loop's list any more when it is freed.
        @Test(arguments: WritePath.engines)
        func aChannelMayCloseBehindItsFlush(engine: Engine) async throws {
            final class Closer: ChannelHandler {
                let log: Log
                init(_ log: Log) { self.log = log }
                func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) {
                    guard result == nil else { return log.add(.done(Int(tag), result?.code)) }
                    context.write(Buffer(), tag: tag + 1)
                    context.flush()
                    context.close(.immediate)
                    #expect(context.eventLoop.own.dirty.count == 2)
                }
                func channelInactive(_ context: ChannelContext) { #expect(context.eventLoop.own.dirty.count == 0) }
            }
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [Closer($0)] }) { rig in
                // With no receive to wait for the descriptor is closed before the next turn's events.
                rig.channel.setAutomaticReading(false)
                try await rig.turns()
                try await rig.run { channel in
                    channel.pipeline.context(of: Closer.self)?.write(Buffer(), tag: 0)
                    channel.flush()
                }
                await rig.channel.closed()
                #expect(rig.log.done == [.done(1, .closed)])
            }
        }

        /// netty#1501: who answers every failure with the next write uses up neither the stack nor the loop.
        @Test(arguments: WritePath.engines, [false, true])
        func endlessRetriesUseUpNothing(engine: Engine, closed: Bool) async throws {
            let mark = WaterMark(low: 100, high: 1000, hardLimit: 1000)
            try await WritePath.withRig(engine, [.waterMark(mark)]) { rig in
                let log = rig.log
                let count: UInt64 = 200_000
                try await rig.run { channel in
                    let context = channel.recorderContext
                    channel.write(Buffer(WritePath.bytes(900)))
                    if closed { channel.close(.immediate) }
                    let retry = Retry(count)
                    channel.pipeline.addLast(retry)
                    context.write(Buffer(WritePath.bytes(1000)), promise: .callback { _ in })
                    retry.begin(log)
                    // The first of them at once, the rest in turns of their own.
                    #expect(retry.tries > 0 && retry.tries < 100)
                }
                await log.until(.note("gave up"))
                await rig.channel.eventLoop.run {}
            }
        }

        /// The same in the last turn of a loop, which has no mailbox any more: it is told a few times, and the loop ends.
        @Test(arguments: WritePath.engines)
        func endlessRetriesLetTheLoopEnd(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let retry = Retry(.max)
                rig.channel.close(.immediate)
                await rig.channel.closed()
                let (log, loop, channel) = (rig.log, rig.loop, rig.channel)
                let shutdown = LoopShutdown()
                let gate = await Gate(loop)
                loop.beginShutdown(shutdown, within: .zero)
                // Again and again, so that it is in the mailbox when the loop has nothing to serve any more.
                @Sendable func begin() {
                    if loop.own.phase == .ended {
                        log.add(.note("ended"))
                        retry.begin(log, channel)
                    } else {
                        loop.execute { begin() }
                    }
                }
                loop.execute { begin() }
                gate.open()
                _ = await shutdown.finished()
                #expect(log.events.last == .note("ended"))
                #expect(retry.tries > 0 && retry.tries < 100)
            }
        }

        private final class Retry: ChannelHandler, @unchecked Sendable {
            private let limit: UInt64
            private(set) var tries: UInt64 = 0
            private var context: ChannelContext?
            private var log: Log?
            init(_ limit: UInt64) { self.limit = limit }

            func handlerAdded(_ context: ChannelContext) { self.context = context }
            func begin(_ log: Log) {
                self.log = log
                write()
            }
            /// The same without a pipeline.
            func begin(_ log: Log, _ channel: Channel) {
                channel.write(
                    Buffer(WritePath.bytes(1000)),
                    promise: .callback { _ in
                        self.tries += 1
                        self.begin(log, channel)
                    })
            }
            private func write() { context?.write(Buffer(WritePath.bytes(1000)), tag: tries) }
            func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) {
                tries += 1
                if result == nil || tries == limit {
                    log?.add(.note(result == nil ? "succeeded" : "gave up"))
                    self.context = nil
                } else {
                    write()
                }
            }
        }

        /// LocalChannelTest.testWriteInWritePromiseCompletePreservesOrder: written in the completion of the first of three means
        /// sent after the third.
        @Test(arguments: WritePath.engines)
        func reentrantWritesKeepTheirOrder(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                try await rig.run { channel in
                    channel.write(
                        Buffer("1"),
                        promise: .callback { _ in
                            log.add(.done(1, nil))
                            channel.write(Buffer("4"), promise: log.promise(4))
                            channel.flush()
                        })
                    channel.write(Buffer("2"), promise: log.promise(2))
                    channel.write(Buffer("3"), promise: log.promise(3))
                    channel.flush()
                }
                #expect(await rig.peer.read(4) == Array("1234".utf8))
                await log.untilDone(4)
                #expect(log.done == (1...4).map { .done($0, nil) })
            }
        }

        /// NioSocketChannelTest.testFlushCloseReentrance: of three large writes the first closes the channel: it was sent, the
        /// others fail, in order, and once, and the peer gets no end of stream behind a part of them.
        @Test(arguments: WritePath.engines)
        func aCompletionMayClose(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.sendBuffer(4096)], receiveBuffer: 32768) { rig in
                let log = rig.log
                let payload = WritePath.bytes(1 << 18)
                try await rig.run { channel in
                    channel.write(
                        Buffer(payload),
                        promise: .callback { result in
                            log.add(.done(0, result?.code))
                            channel.close(.immediate)
                            log.add(.note("close returned"))
                        })
                    for tag in 1...2 { channel.write(Buffer(payload), promise: log.promise(tag)) }
                    channel.flush()
                }
                let received = await rig.peer.readToEnd()
                #expect((payload + payload + payload).starts(with: received))
                await rig.channel.closed()
                #expect(
                    log.events.filter { $0 != .active } == [
                        .writable(false), .done(0, nil), .note("close returned"), .done(1, .closed), .done(2, .closed),
                        .inactive, .note("removed"),
                    ])
            }
        }

        /// netty#1501: a completion that fails and closes, writes and flushes meets a channel that is on its way out, not a loop.
        @Test(arguments: WritePath.engines)
        func aFailedWriteMayDoEverything(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                try await rig.run { channel in
                    for tag in 0..<20 {
                        channel.write(
                            Buffer(WritePath.bytes(3000)),
                            promise: .callback { result in
                                log.add(.done(tag, result?.code))
                                channel.close(.reset)
                                channel.write(Buffer("more"), promise: log.promise(100 + tag))
                                channel.flush()
                                channel.close(.graceful)
                                channel.shutdownOutput()
                            })
                    }
                    channel.close(.immediate)
                }
                await rig.channel.closed()
                let expected = (0..<20).flatMap { [Event.done($0, .closed), .done(100 + $0, .closed)] }
                #expect(log.done == expected)
            }
        }

        /// netty#5028, netty#5075; swift-nio#1344, #2954 (testFlushInWritabilityChanged, testConditionalWritability): a handler
        /// that fills the queue whenever it is writable, from within the event, loses no flush and no event.
        @Test(arguments: WritePath.engines)
        func writabilityChangedMayWrite(engine: Engine) async throws {
            let options: [ChannelOption] = [.waterMark(low: .kibibytes(8), high: .kibibytes(16)), .sendBuffer(16384)]
            try await WritePath.withRig(engine, options, receiveBuffer: 32768) { rig in
                let total = 4 << 20
                let payload = WritePath.bytes(total)
                let whole = Buffer(payload)
                try await rig.run { channel in
                    var written = 0
                    let fill: (ChannelContext) -> Void = { context in
                        while context.channel.isWritable, written < total {
                            context.write(whole[written..<(written + 4096)])
                            written += 4096
                        }
                        context.flush()
                    }
                    channel.recorder.onWritability = fill
                    fill(channel.recorderContext)
                }
                #expect(await rig.peer.read(total) == payload)
                try await rig.until { $0.pendingBytes == 0 }
                #expect(rig.log.writable.last == true)
            }
        }
    }
}
