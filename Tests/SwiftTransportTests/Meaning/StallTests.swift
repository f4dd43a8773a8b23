import Synchronization
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// Nobody waits for ever: every hold is let go when its reason is gone.
    struct StallTests {
        /// Switches reading off within a batch of two pieces, so that the second one is kept.
        private final class Pauses: ChannelHandler {
            static let interests: ChannelEvents = [.read]
            private var count = 0
            func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
                count += bytes.count
                if count > StallTests.first { context.channel.setAutomaticReading(false) }
                context.fireChannelRead(bytes)
            }
        }

        private static func pausing(_ log: WritePath.Log) -> [any ChannelHandler] {
            [Pauses(), WritePath.Recorder(log)]
        }

        /// More than half of a chunk, so that what comes next is more than fits behind it.
        private static let first = 40_000

        /// Reading was off, is switched on again, and before what is kept can be delivered the channel drains: it reads on all
        /// the same, because its peer may read only when it is read from.
        @Test(arguments: Engine.allCases)
        func aDrainReadsOnBehindKeptInput(_ engine: Engine) async throws {
            let payload = WritePath.bytes(8_000_000)
            try await WritePath.withRig(
                engine, [.sendBuffer(65536)], handlers: Self.pausing
            ) { rig in
                let peer = rig.peer
                peer.write([UInt8](repeating: 1, count: Self.first))
                try await rig.until { $0.recorder.received.count == Self.first }
                let gate = await WritePath.Gate(rig.loop)
                peer.write([UInt8](repeating: 1, count: 60_000))
                gate.open()
                try await rig.until { $0.own.held != nil }
                try await rig.run { channel in
                    channel.setAutomaticReading(true)
                    channel.write(Buffer(payload))
                    channel.close(.drain(within: .seconds(1000)))
                }
                // Neither side's buffers hold as much.
                try await blocking { peer.write([UInt8](repeating: 2, count: 20_000_000)) }
                peer.endOutput()
                await peer.readToEnd()
                #expect(peer.received == payload && peer.failure == 0)
            }
        }

        /// Refuses what is longer than a limit.
        private final class Refuses: ChannelHandler {
            static let interests: ChannelEvents = [.write]
            func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
                if bytes.count == 1111 {
                    promise.complete(TransportError(.unencodableMessage))
                } else {
                    context.write(bytes, promise: promise)
                }
            }
        }

        private static func events(_ log: WritePath.Log) -> [any ChannelHandler] {
            [Refuses(), WritePath.Recorder(log)]
        }

        /// What is flushed is sent to make room for a write, and then a handler lets that one vanish: the channel is writable,
        /// and nothing else will come that would say so.
        @Test(arguments: Engine.allCases)
        func roomMadeForAWriteThatVanishesIsTold(_ engine: Engine) async throws {
            let options: [ChannelOption] = [.waterMark(low: 1000, high: 2000, hardLimit: 2500)]
            try await WritePath.withRig(engine, options, handlers: Self.events) { rig in
                let (channel, log) = (rig.channel, rig.log)
                let refused = await Task(executorPreference: rig.loop.taskExecutor) {
                    // Between the marks, unwritable, flushed and not sent yet.
                    let context = channel.recorderContext
                    context.write(Buffer(WritePath.bytes(1500)))
                    let other = context.write(Buffer(WritePath.bytes(900)), tag: 1)
                    _ = channel.cancelQueued(other)
                    channel.flushQueue()
                    let isBetween = !channel.isWritable && !channel.own.writing.inFlight
                    return isBetween ? await channel.result(of: Buffer(WritePath.bytes(1111))) : nil
                }.value
                #expect(refused?.code == .unencodableMessage)
                await log.until { $0.last { if case .writable = $0 { true } else { false } } == .writable(true) }
                #expect(log.writable == [false, true] && channel.isWritable && channel.pendingBytes == 0)
            }
        }

        /// The queue has room again while a write from another thread, which is on its way, makes the channel look unwritable. It
        /// arrives, and a handler lets it vanish.
        @Test(arguments: Engine.allCases)
        func roomMadeByAWriteThatVanishesOnItsWayIsTold(_ engine: Engine) async throws {
            let options: [ChannelOption] = [.waterMark(low: 1000, high: 2000)]
            try await WritePath.withRig(engine, options, handlers: Self.events) { rig in
                let (channel, log) = (rig.channel, rig.log)
                let gate = await WritePath.Gate(rig.loop)
                rig.loop.execute {
                    let context = channel.recorderContext
                    context.write(Buffer(WritePath.bytes(800)))
                    let other = context.write(Buffer(WritePath.bytes(1500)), tag: 1)
                    _ = channel.cancelQueued(other)
                }
                channel.write(Buffer(WritePath.bytes(1111)), promise: log.promise(2))
                gate.open()
                await log.until(.done(2, .unencodableMessage))
                await log.until { $0.last { if case .writable = $0 { true } else { false } } == .writable(true) }
                #expect(channel.isWritable)
            }
        }
    }
}
