import Testing

@testable import SwiftTransport

extension WritePath {
    /// Who is told, and how often.
    @Suite struct Promises {
        /// P3: nobody waits: nothing is stored for it. P5: every other kind is told exactly once, on the loop, in order.
        @Test(arguments: WritePath.engines)
        func everyKindIsToldOnce(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let (log, loop) = (rig.log, rig.loop)
                let nobody = WritePromise.none.isNone
                #expect(nobody)
                try await rig.run { channel in
                    let context = channel.recorderContext
                    context.write(Buffer("0"), tag: 0)
                    context.write(Buffer("-"))
                    context.write(
                        Buffer("1"), promise: .callback { _ in log.add(.done(1, loop.isCurrent ? nil : .system)) })
                    context.write(Buffer("-"), promise: .closeOnFailure(channel))
                    context.write(Buffer("2"), promise: .handler(context, tag: 2))
                    context.flush()
                }
                await log.untilDone(3)
                try await rig.turns()
                #expect(log.done == [.done(0, nil), .done(1, nil), .done(2, nil)])
                #expect(await rig.peer.read(5) == Array("0-1-2".utf8))
                #expect(rig.channel.isActive)
            }
        }

        /// P4 (CLOSE_ON_FAILURE): a heartbeat that fails closes its channel.
        @Test(arguments: WritePath.engines)
        func aFailedHeartbeatClosesItsChannel(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(WaterMark(low: 500, high: 1000, hardLimit: 2000))]) { rig in
                try await rig.run { channel in
                    channel.write(Buffer(WritePath.bytes(2000 - 2 * 48)), promise: rig.log.promise(0))
                    channel.write(Buffer(), promise: rig.log.promise(1))
                    #expect(channel.isActive)
                    channel.writeAndFlush(Buffer("heartbeat"), promise: .closeOnFailure(channel))
                    #expect(!channel.isActive)
                }
                await rig.channel.closed()
                #expect(rig.log.done == [.done(0, .closed), .done(1, .closed)])
            }
        }

        /// W13, W22: who is told finds everything done: the entry out of the queue, its bytes no longer counted, its memory free.
        @Test(arguments: WritePath.engines, [true, false])
        func whoIsToldFindsAllDone(engine: Engine, sent: Bool) async throws {
            final class Box: @unchecked Sendable { var witness: Witness? }
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                try await rig.run { channel in
                    let box = Box()
                    let buffer = Buffer(WritePath.bytes(5000))
                    box.witness = Witness(buffer)
                    let promise = WritePromise.callback { _ in
                        let isFreed = box.witness?.isFreed == true
                        let entries = channel.own.queue?.count ?? 0
                        log.add(.note("\(isFreed), \(entries), \(channel.pendingBytes)"))
                    }
                    channel.write(buffer, promise: promise)
                    channel.write(Buffer("another"), promise: log.promise(1))
                    if sent { channel.flush() }
                }
                if !sent { rig.channel.close(.immediate) }
                await log.untilDone(1)
                #expect(log.events.contains(.note("true, 0, 0")))
            }
        }

        /// P5: whatever ends a channel, in whatever state its writes are, each completes exactly once.
        @Test(arguments: WritePath.engines, ["immediate", "reset", "drain", "peer", "shutdown"])
        func everyWriteCompletesExactlyOnce(engine: Engine, ending: String) async throws {
            let mark = WaterMark(low: 1000, high: 2000, hardLimit: .mebibytes(64))
            try await WritePath.withRig(engine, [.sendBuffer(4096), .waterMark(mark)], receiveBuffer: 32768) { rig in
                let log = rig.log
                try await rig.run { channel in
                    let context = channel.recorderContext
                    for tag in 0..<100 {
                        let promise: WritePromise =
                            tag % 2 == 0
                            ? log.progressPromise(tag) : .handler(context, tag: UInt64(tag), progress: true)
                        let handle = context.write(Buffer(WritePath.bytes(tag * 40)), promise: promise)
                        if tag % 10 == 9 { channel.cancel(handle) }
                        if tag == 90 { context.flush() }
                    }
                }
                try await rig.until { $0.own.writing.inFlight }
                switch ending {
                case "immediate": rig.channel.close(.immediate)
                case "reset": rig.channel.close(.reset)
                case "drain": rig.channel.close(.drain(within: .milliseconds(1)))
                case "peer": rig.peer.reset()
                default: await rig.group.shutdown(within: .zero)
                }
                await rig.channel.closed()
                let tags = log.done.map { if case .done(let tag, _) = $0 { tag } else { -1 } }
                #expect(tags.sorted() == Array(0..<100))
                #expect(log.done.count { $0 == .done(99, .cancelled) } == 1)
                // What was not cancelled completes in the order of the writes.
                #expect(tags.filter { $0 % 10 != 9 } == (0..<100).filter { $0 % 10 != 9 })
            }
        }

        /// P5: a handler that has left is still told of its writes, and not kept any longer than that.
        @Test(arguments: WritePath.engines)
        func aHandlerThatLeftIsTold(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.sendBuffer(4096)], receiveBuffer: 32768) { rig in
                let backlog = 300_000
                try await rig.fillKernel(with: Buffer(WritePath.bytes(backlog)))
                let witness = try await rig.run { channel in
                    let context = channel.recorderContext
                    context.write(Buffer("0"), tag: 0)
                    context.write(Buffer("1"), promise: .handler(context, tag: 1))
                    context.flush()
                    channel.pipeline.remove(context)
                    return Witness(context)
                }
                try await rig.turns()
                #expect(rig.log.done.isEmpty && !witness.isFreed)
                await rig.peer.read(backlog + 2)
                await rig.log.untilDone(2)
                try await rig.turns()
                #expect(rig.log.done == [.done(0, nil), .done(1, nil)] && witness.isFreed)
            }
        }

        /// P5: the same for one that writes only after it has left.
        @Test(arguments: WritePath.engines)
        func aHandlerThatWritesAfterItLeftIsTold(engine: Engine) async throws {
            final class Place: @unchecked Sendable { var context: ChannelContext? }
            let place = Place()
            try await WritePath.withRig(engine) { rig in
                let witness = try await rig.run { channel in
                    place.context = channel.recorderContext
                    channel.pipeline.remove(channel.recorderContext)
                    return Witness(place.context!)
                }
                try await rig.turns()
                try await rig.run { channel in
                    place.context?.write(Buffer("0"), tag: 0)
                    place.context = nil
                    #expect(!witness.isFreed)
                    channel.flush()
                }
                await rig.log.untilDone(1)
                try await rig.turns()
                #expect(rig.log.done == [.done(0, nil)] && witness.isFreed)
            }
        }

        /// P6: a scheduled task is what cancels it; a cancelled one lets go of what it holds.
        @Test(arguments: WritePath.engines)
        func aScheduledTaskCancelsItself(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                let buffer = Buffer(WritePath.bytes(5000))
                let (witness, task) = {
                    (
                        Witness(buffer[0..<5000]),
                        rig.loop.schedule(after: .seconds(3600)) { [buffer] in _ = buffer.count }
                    )
                }()
                #expect(task.cancel())
                #expect(!task.cancel())
                #expect(await rig.loop.statistics()?.armedTimers == LoopEnd.timers)
                let done = rig.loop.schedule(after: .zero) { log.add(.note("ran")) }
                await log.until(.note("ran"))
                #expect(!done.cancel())
                _ = consume buffer
                try await rig.turns(2)
                #expect(witness.isFreed)
            }
        }
    }
}
