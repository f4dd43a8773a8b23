import Glibc
import Testing

@testable import SwiftTransport

extension WritePath {
    /// A task that awaits its write.
    @Suite struct AsyncSend {
        /// P1: a task that is cancelled while its write waits for a flush takes the write back, on the loop and elsewhere, also
        /// when it went through handlers.
        @Test(arguments: WritePath.engines, [true, false])
        func cancellingTakesBackWhatIsUnflushed(engine: Engine, onLoop: Bool) async throws {
            let handlers: @Sendable (Log) -> [any ChannelHandler] = { [PassThrough(), PassThrough(), Recorder($0)] }
            try await WritePath.withRig(engine, handlers: handlers) { rig in
                let executor = onLoop ? rig.loop.taskExecutor : nil
                let channel = rig.channel
                let task = Task(executorPreference: executor) {
                    await channel.result(of: Buffer(WritePath.bytes(5000)), flush: false)
                }
                try await rig.until { $0.levels.pending == WritePath.pending(5000) }
                task.cancel()
                #expect(await task.value?.code == .cancelled)
                #expect(rig.channel.pendingBytes == WritePath.pending(0))
                try await rig.channel.send(Buffer("kept"))
                #expect(await rig.peer.read(4) == Array("kept".utf8))
            }
        }

        /// P1: a task may give up a write that a peer does not read. The kernel has a part of it, so the channel ends, with a reset.
        @Test(arguments: WritePath.engines, [true, false])
        func cancellingAfterTheFlushEndsTheChannel(engine: Engine, onLoop: Bool) async throws {
            try await WritePath.withRig(engine, [.sendBuffer(4096)], receiveBuffer: 32768) { rig in
                let channel = rig.channel
                let payload = WritePath.bytes(1 << 20)
                let task = Task(executorPreference: onLoop ? rig.loop.taskExecutor : nil) {
                    try await channel.send(Buffer(payload))
                }
                try await rig.until { $0.own.writing.inFlight && ($0.own.queue?.headOffset ?? 0) > 0 }
                task.cancel()
                let failure = await #expect(throws: TransportError.self) { try await task.value }
                #expect(failure?.code == .cancelled)
                await channel.closed()
                await rig.peer.readToEnd()
                #expect(payload.starts(with: rig.peer.received) && rig.peer.failure == ECONNRESET)
            }
        }

        /// P1: a task that is cancelled before its write reached the loop: nothing is queued.
        @Test(arguments: WritePath.engines)
        func cancellingOnTheWaySendsNothing(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let gate = await Gate(rig.loop)
                let channel = rig.channel
                let task = Task { try await channel.send(Buffer("never")) }
                while channel.pendingBytes == 0, !Task.isCancelled { await Task.yield() }
                task.cancel()
                gate.open()
                let failure = await #expect(throws: TransportError.self) { try await task.value }
                #expect(failure?.code == .cancelled)
                #expect(channel.pendingBytes == 0)
                #expect(!rig.peer.readSome())
            }
        }

        /// P1: a task that was cancelled before it wrote writes nothing, on the loop as elsewhere.
        @Test(arguments: WritePath.engines, [true, false])
        func aCancelledTaskSendsNothing(engine: Engine, onLoop: Bool) async throws {
            // No handler that could hold a flush up, so that on the loop it is queued and flushed in one step.
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { _ in [] }) { rig in
                let channel = rig.channel
                // Often: whether the loop looks at what the task has not handed over yet, the thread sanitizer tells.
                for flush in (0..<200).map({ $0.isMultiple(of: 2) }) {
                    let task = Task(executorPreference: onLoop ? rig.loop.taskExecutor : nil) {
                        withUnsafeCurrentTask { $0?.cancel() }
                        return await channel.result(of: Buffer("never"), flush: flush)
                    }
                    #expect(await task.value?.code == .cancelled)
                }
                try await channel.send(Buffer("kept"))
                #expect(await rig.peer.read(4) == Array("kept".utf8))
            }
        }

        /// Whatever may be written may be awaited, on the loop and elsewhere: files, and messages that a handler encodes.
        @Test(arguments: WritePath.engines, [true, false])
        func filesAndMessagesAreAwaitedToo(engine: Engine, onLoop: Bool) async throws {
            final class Encoder: ChannelHandler {
                static let interests: ChannelEvents = [.write]
                func write(_ context: ChannelContext, message: any Sendable, promise: consuming WritePromise) {
                    if let text = message as? String {
                        context.write(Buffer(text), promise: promise)
                    } else {
                        context.write(message: message, promise: promise)
                    }
                }
            }
            let file = try ScratchFile(200_000)
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [Encoder(), Recorder($0)] }) { rig in
                let channel = rig.channel
                let region = try FileRegion(path: file.path)
                let reading = Task { await rig.peer.read(200_005) }
                try await Task(executorPreference: onLoop ? rig.loop.taskExecutor : nil) {
                    try await channel.send(message: "file:")
                    try await channel.send(region)
                    let failure = await #expect(throws: TransportError.self) { try await channel.send(message: 1) }
                    #expect(failure?.code == .unencodableMessage)
                }.value
                #expect(await reading.value == Array("file:".utf8) + file.bytes)

                // P1: not flushed, both can be taken back.
                for message in [nil, "never"] as [String?] {
                    let task = Task(executorPreference: onLoop ? rig.loop.taskExecutor : nil) {
                        if let message {
                            try await channel.send(message: message, flush: false)
                        } else {
                            try await channel.send(region, flush: false)
                        }
                    }
                    try await rig.until { $0.levels.pending > WritePath.pending(0) }
                    task.cancel()
                    let failure = await #expect(throws: TransportError.self) { try await task.value }
                    #expect(failure?.code == .cancelled)
                    try await channel.send(Buffer("!"))
                }
                #expect(await rig.peer.read(200_007).suffix(2) == Array("!!".utf8)[...])
            }
        }

        /// P1: a handler that holds the flush up leaves the task the time to take its write back.
        @Test(arguments: WritePath.engines, [true, false])
        func cancellingWhileTheFlushIsHeldUpTakesItBack(engine: Engine, onLoop: Bool) async throws {
            final class HoldsUp: ChannelHandler {
                static let interests: ChannelEvents = [.flush]
                func flush(_ context: ChannelContext) {}
            }
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [HoldsUp(), Recorder($0)] }) { rig in
                let channel = rig.channel
                let task = Task(executorPreference: onLoop ? rig.loop.taskExecutor : nil) {
                    await channel.result(of: Buffer("never"))
                }
                try await rig.until { $0.levels.pending > 0 }
                task.cancel()
                #expect(await task.value?.code == .cancelled)
                #expect(channel.pendingBytes == WritePath.pending(0))
            }
        }

        /// P5: every one of many tasks is resumed exactly once when the channel is cut off (a second time would trap).
        @Test(arguments: WritePath.engines)
        func allAreToldWhenItIsCutOff(engine: Engine) async throws {
            let mark = WaterMark(low: 1000, high: 2000, hardLimit: .mebibytes(64))
            try await WritePath.withRig(engine, [.sendBuffer(4096), .waterMark(mark)], receiveBuffer: 32768) { rig in
                let channel = rig.channel
                let outcomes = await withTaskGroup(of: TransportError.Code?.self) { group in
                    for _ in 0..<200 {
                        group.addTask {
                            await channel.result(of: Buffer(WritePath.bytes(20_000)))?.code
                        }
                    }
                    group.addTask {
                        try? await rig.until { $0.levels.pending > 100_000 && $0.pendingBytes == $0.levels.pending }
                        channel.close(.reset)
                        return .closed
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                #expect(outcomes.count == 201)
                #expect(outcomes.count { $0 == .closed } > 100)
                #expect(outcomes.allSatisfy { $0 == nil || $0 == .closed })
            }
        }
    }
}
