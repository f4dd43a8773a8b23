import Glibc
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// Reading is held back by a set of owners. It once was a Boolean: whoever switched it on undid what another had done, and a
    /// peer could fill memory without bound.
    struct ReadingHoldsTests {
        /// A task that does not read, behind a handler that switches reading with the channel's writability.
        @Test(arguments: Engine.allCases)
        func aTaskThatDoesNotReadIsNotFedByBackPressure(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let connections = Watched([Connection]())
                let isWritten = Watched(false)
                let server = try await ServerBootstrap(group: group)
                    .childOptions(.sendBuffer(.kibibytes(64)))
                    .childHandlers { [BackPressureHandler()] }
                    .serve { connection in
                        connections.update { $0.append(connection) }
                        // Unwritable and writable again, many times over, while the peer sends.
                        for _ in 0..<20 { try await connection.send(Buffer([UInt8](repeating: 9, count: 500_000))) }
                        isWritten.update { $0 = true }
                        await connection.channel.closed()
                    }.bind(host: "127.0.0.1", port: 0)
                let peer = try await blocking { try RawSocket.connect(to: server.localAddress) }
                let size = 64 << 20
                async let written = blocking {
                    for _ in 0..<(size >> 16) {
                        guard (try? peer.write([UInt8](repeating: 1, count: 1 << 16))) != nil else { return }
                    }
                }
                async let read = blocking { _ = try? peer.read(20 * 500_000) }
                try await isWritten.wait(for: "the writes") { $0 }
                for _ in 0..<100 { await group.settle() }
                // What the loop had from the kernel when it was held back the first time, and no more.
                let received = try #require(await group.loops[0].statistics()).receivedBytes
                #expect(received <= UInt64(2 * InboundBridge.high + (2 << 20)))
                for connection in connections.value { connection.channel.close(.reset) }
                _ = try await (written, read)
                peer.close()
            }
        }

        /// Each hold counts for itself, and the channel reads when the last one is gone.
        @Test(arguments: Engine.allCases)
        func eachOwnerHasItsOwn(_ engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                try await rig.run { channel in
                    channel.setAutomaticReading(false)
                    channel.setReading(false, flag: 1)
                    channel.setReading(false, flag: 15)
                    channel.setReading(true, flag: 2)
                }
                rig.peer.write(Array("held".utf8))
                let steps: [@Sendable (Channel) -> Void] = [
                    { $0.setAutomaticReading(true) }, { $0.setReading(true, flag: 1) },
                    { $0.setReading(true, flag: 15) },
                ]
                for step in steps {
                    try await rig.turns()
                    #expect(try await rig.run { $0.recorder.received } == [])
                    try await rig.run(step)
                }
                try await rig.until { $0.recorder.received == Array("held".utf8) }
            }
        }

        /// A back-pressure handler that leaves takes its hold with it, and one that comes to a full channel brings one.
        @Test(arguments: Engine.allCases)
        func backPressureComesAndGoes(_ engine: Engine) async throws {
            let options: [ChannelOption] = [.sendBuffer(4096), .waterMark(low: 1000, high: 2000)]
            try await WritePath.withRig(engine, options, receiveBuffer: 32768) { rig in
                try await rig.fillKernel(with: Buffer(WritePath.bytes(1 << 20)))
                try await rig.run { channel in
                    channel.pipeline.addLast(BackPressureHandler())
                    #expect(channel.own.reading.holds == .backPressure)
                }
                rig.peer.write(Array("held".utf8))
                try await rig.turns()
                try await rig.run { channel in
                    #expect(channel.recorder.received == [])
                    channel.removeBackPressure()
                    #expect(channel.own.reading.holds.isEmpty)
                }
                try await rig.until { $0.recorder.received == Array("held".utf8) }
            }
        }

        /// Reading off and on, then the handler leaves and the channel closes at once, in the middle of what was kept: the loop's
        /// list of readers once kept the channel when it was gone.
        @Test(arguments: Engine.allCases)
        func aClosedChannelIsOnNoList(_ engine: Engine) async throws {
            final class Leaver: ChannelHandler {
                static let interests: ChannelEvents = [.read, .inactive]
                private let seen: Watched<[Bool]>
                private var reads = 0
                init(_ seen: Watched<[Bool]>) { self.seen = seen }
                func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
                    reads += 1
                    let channel = context.channel
                    switch reads {
                    case 1: channel.setAutomaticReading(false)
                    default: channel.close(.immediate)
                    }
                }
                func channelInactive(_ context: ChannelContext) {
                    let readers = context.eventLoop.own.readers
                    let isListed = (0..<readers.count).contains {
                        readers[$0].isSame(as: ChannelReference(context.channel))
                    }
                    seen.update { $0.append(isListed) }
                }
            }
            try await withGroup(engine) { group in
                let seen = Watched([Bool]())
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .tcp)) {
                    [Leaver(seen)]
                }
                try await withLoopHeld(group.loops[0]) {
                    try await blocking { try peer.write([UInt8](repeating: 2, count: 400_000)) }
                }
                for _ in 0..<20 { await group.settle() }
                channel.setAutomaticReading(true)
                await channel.closed()
                #expect(seen.value == [false])
                peer.close()
            }
        }
    }

    /// Small pieces are joined while they wait, and counted as the memory they hold.
    struct InputQueueTests {
        private func lend(_ byte: UInt8, _ count: Int, to queue: inout InputQueue) {
            let buffer = Buffer([UInt8](repeating: byte, count: count))
            queue.append(ReadBytes(lending: buffer))
        }

        @Test func aByteCostsAByte() {
            var queue = InputQueue()
            for index in 0..<65_536 { lend(UInt8(truncatingIfNeeded: index), 1, to: &queue) }
            #expect(queue.cost < 65_536 + 20 * 1024)
            var bytes: [UInt8] = []
            var pieces = 0
            while let piece = queue.removeFirst() {
                bytes += [UInt8](piece)
                pieces += 1
            }
            #expect(bytes == (0..<65_536).map { UInt8(truncatingIfNeeded: $0) })
            #expect(pieces < 32 && queue.cost == 0)
        }

        /// What was handed out is nobody's to write to any more.
        @Test func whatIsHandedOutStays() {
            var queue = InputQueue()
            lend(1, 10, to: &queue)
            lend(2, 10, to: &queue)
            _ = queue.removeFirst()
            let joined = queue.removeFirst()
            lend(3, 10, to: &queue)
            lend(4, 2000, to: &queue)
            lend(5, 10, to: &queue)
            lend(6, 10, to: &queue)
            #expect(joined == Buffer([UInt8](repeating: 2, count: 10)))
            #expect(queue.removeFirst() == Buffer([UInt8](repeating: 3, count: 10)))
            #expect(queue.removeFirst()?.count == 2000)
            #expect(
                queue.removeFirst().map { [UInt8]($0) } == [UInt8](repeating: 5, count: 10)
                    + [UInt8](repeating: 6, count: 10))
            #expect(queue.isEmpty && queue.cost == 0)
        }
    }
}

extension Channel {
    fileprivate func removeBackPressure() {
        if let context = pipeline.context(of: BackPressureHandler.self) { pipeline.remove(context) }
    }
}
