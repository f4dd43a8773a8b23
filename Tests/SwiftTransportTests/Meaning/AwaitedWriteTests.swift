import Glibc
import Testing

@testable import SwiftTransport

extension WritePath {
    /// For a task awaiting is the back pressure: at a limit its write waits for its turn instead of being refused.
    @Suite struct AwaitedWrites {
        private static let mark = WaterMark(low: 1000, high: 2000, hardLimit: 10_000)
        private static let small: [ChannelOption] = [.sendBuffer(4096), .waterMark(mark)]

        /// Eight tasks with half a megabyte each, on the loop and off it, default marks.
        @Test(arguments: WritePath.engines, [true, false])
        func eightWritersGetEverythingAcross(engine: Engine, onLoop: Bool) async throws {
            try await WritePath.withRig(engine) { rig in
                let channel = rig.channel
                let reading = Task { await rig.peer.read(8 * 500_000) }
                let failures: [TransportError] = await withTaskGroup(of: TransportError?.self) { tasks in
                    for index in 0..<8 {
                        tasks.addTask(executorPreference: onLoop ? rig.loop.taskExecutor : nil) {
                            await channel.result(of: Buffer([UInt8](repeating: UInt8(index), count: 500_000)))
                        }
                    }
                    return await tasks.reduce(into: []) { if let error = $1 { $0.append(error) } }
                }
                #expect(failures.isEmpty)
                let received = await reading.value
                // One behind the other, none in two parts.
                let order = stride(from: 0, to: received.count, by: 500_000).map { received[$0] }
                #expect(order.sorted() == Array(0..<8))
                #expect(received == order.flatMap { [UInt8](repeating: $0, count: 500_000) })
            }
        }

        /// In the order in which they came; one that is cancelled while it waits leaves the others in theirs.
        @Test(arguments: WritePath.engines)
        func writesWaitInTheirOrder(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let channel = rig.channel
                let first = WritePath.bytes(400_000)
                try await rig.fillKernel(with: Buffer(first))
                var tasks: [Task<WriteResult, Never>] = []
                for index in 0..<6 {
                    tasks.append(
                        Task { await channel.result(of: Buffer([UInt8](repeating: UInt8(index), count: 9000))) })
                    try await rig.until { $0.own.waiting?.count == index + 1 }
                }
                tasks[2].cancel()
                #expect(await tasks[2].value?.code == .cancelled)
                let received = await rig.peer.read(first.count + 5 * 9000)
                #expect(
                    Array(received[first.count...])
                        == [0, 1, 3, 4, 5].flatMap { [UInt8](repeating: $0, count: 9000) })
                for index in [0, 1, 3, 4, 5] { #expect(await tasks[index].value == nil) }
                #expect(await rig.loop.statistics()?.refusedWrites == 0)
            }
        }

        /// What cannot wait is refused all the same, and what waits is told when the channel ends.
        @Test(arguments: WritePath.engines)
        func whoWaitsIsToldWhenTheChannelEnds(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let (channel, log) = (rig.channel, rig.log)
                try await rig.fillKernel(with: Buffer(WritePath.bytes(400_000)))
                let task = Task { await channel.result(of: Buffer(WritePath.bytes(9000))) }
                try await rig.until { $0.own.waiting?.count == 1 }
                try await rig.run { channel in channel.write(Buffer("now"), promise: log.promise(0)) }
                #expect(log.done == [.done(0, .outboundQueueFull)])
                channel.close(.graceful)
                #expect(await task.value?.code == .closed)
                channel.close(.reset)
            }
        }

        /// A queue full of what nobody has flushed: the write's own flush makes room.
        @Test(arguments: WritePath.engines, [true, false])
        func aWritesOwnFlushMakesRoom(engine: Engine, onLoop: Bool) async throws {
            try await WritePath.withRig(engine, [.waterMark(Self.mark)]) { rig in
                let channel = rig.channel
                try await rig.run { $0.write(Buffer(WritePath.bytes(9000))) }
                let task = Task(executorPreference: onLoop ? rig.loop.taskExecutor : nil) {
                    await channel.result(of: Buffer("and more than fits".utf8.map { $0 } + WritePath.bytes(5000)))
                }
                #expect(await task.value == nil)
                #expect(await rig.peer.read(9018 + 5000).count == 14_018)
            }
        }

        /// P1: a flushed write the kernel has not begun with is taken back, and the channel goes on.
        @Test(arguments: WritePath.engines)
        func aWriteTheKernelHasNotBegunIsTakenBack(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.sendBuffer(4096)], receiveBuffer: 32768) { rig in
                let channel = rig.channel
                let first = WritePath.bytes(400_000)
                try await rig.fillKernel(with: Buffer(first))
                let task = Task { await channel.result(of: Buffer("never")) }
                try await rig.until { $0.own.queue?.count == 2 }
                task.cancel()
                #expect(await task.value?.code == .cancelled)
                channel.writeAndFlush(Buffer("behind"))
                #expect(await rig.peer.read(first.count + 6) == first + Array("behind".utf8))
                #expect(channel.isActive)
            }
        }

        /// Its task gives it up, and room comes before the loop has heard of that: it does not begin any more. A handler that
        /// keeps writes until the next flush would keep it for ever.
        @Test(arguments: WritePath.engines)
        func aWriteGivenUpDoesNotBeginWhenItsTurnComes(engine: Engine) async throws {
            final class Keeps: ChannelHandler {
                static let interests: ChannelEvents = [.write]
                private var kept: [WritePromise.Kept] = []
                func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
                    if bytes.count == 5000 {
                        kept.append(WritePromise.Kept(promise))
                    } else {
                        context.write(bytes, promise: promise)
                    }
                }
            }
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, [.waterMark(Self.mark)], handlers: { [Keeps(), Recorder($0)] }) { rig in
                let channel = rig.channel
                try await rig.run { $0.write(Buffer(WritePath.bytes(9000))) }
                let task = Task { await channel.result(of: Buffer(WritePath.bytes(5000)), flush: false) }
                try await rig.until { $0.own.waiting?.count == 1 }
                try await rig.run { channel in
                    task.cancel()
                    channel.flush()
                    channel.admitWaiting()
                    #expect(channel.own.waiting == nil && channel.pendingBytes == 0)
                }
                #expect(await task.value?.code == .cancelled)
                #expect(await rig.peer.read(9000).count == 9000)
            }
        }

        /// What a handler makes of a write that has waited is not refused half of it.
        @Test(arguments: WritePath.engines)
        func handlersMayMakeMoreOfIt(engine: Engine) async throws {
            final class Doubles: ChannelHandler {
                static let interests: ChannelEvents = [.write]
                func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
                    context.write(bytes)
                    context.write(bytes, promise: promise)
                }
            }
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(
                engine, Self.small, receiveBuffer: 32768, handlers: { [Doubles(), Recorder($0)] }
            ) {
                rig in
                let channel = rig.channel
                let reading = Task { await rig.peer.read(20 * 18_000) }
                for index in 0..<20 {
                    #expect(await channel.result(of: Buffer([UInt8](repeating: UInt8(index), count: 9000))) == nil)
                }
                #expect(await reading.value == (0..<20).flatMap { [UInt8](repeating: UInt8($0), count: 18_000) })
            }
        }
    }
}

extension WritePromise {
    /// In a place of its own, where it can be kept.
    fileprivate final class Kept {
        private var promise: WritePromise?
        init(_ promise: consuming WritePromise) { self.promise = consume promise }
    }
}
