import CTransport
import Glibc
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// An end of stream means all of it: it is sent only when everything that was accepted has been handed to the kernel. Every
    /// other end is a reset.
    struct EndOfStreamTests {
        private static let small: [ChannelOption] = [
            .sendBuffer(4096), .waterMark(low: 1000, high: 2000, hardLimit: .kibibytes(256)),
        ]

        /// A file that cannot be read, between two writes, and nobody waits for it.
        @Test(arguments: Engine.allCases)
        func aFileThatCannotBeReadEndsInAReset(_ engine: Engine) async throws {
            let file = try WritePath.ScratchFile(100_000)
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                let region = try FileRegion(path: file.path)
                file.truncate(to: 0)
                try await rig.run { channel in
                    channel.write(Buffer("A"), promise: log.promise(0))
                    channel.write(region)
                    channel.write(Buffer("Z"), promise: log.promise(1))
                    channel.flush()
                }
                await rig.peer.readToEnd()
                #expect(rig.peer.received == Array("A".utf8) && rig.peer.failure == ECONNRESET)
                await rig.channel.closed()
                #expect(log.done == [.done(0, nil), .done(1, .closed)])
                #expect(log.events.contains(.error(.system)))
            }
        }

        /// The same when a part of it was sent: it was cut meanwhile.
        @Test(arguments: Engine.allCases)
        func aFileThatIsCutEndsInAReset(_ engine: Engine) async throws {
            let file = try WritePath.ScratchFile(1 << 20)
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let log = rig.log
                let region = try FileRegion(path: file.path)
                try await rig.run { channel in
                    channel.write(region, promise: log.promise(0))
                    channel.flush()
                    channel.close(.drain(within: .seconds(100)))
                }
                try await rig.until { $0.own.writing.inFlight }
                file.truncate(to: 100_000)
                await rig.peer.readToEnd()
                #expect(file.bytes.starts(with: rig.peer.received) && rig.peer.failure == ECONNRESET)
                await rig.channel.closed()
                #expect(log.done.count == 1 && log.done != [.done(0, nil)])
            }
        }

        /// A write at the limit that nobody waits for: what was flushed before it arrives, all of it, and then the reset.
        @Test(arguments: Engine.allCases)
        func whatWasFlushedBeforeARefusedWriteArrives(_ engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 65536) { rig in
                let log = rig.log
                let payload = WritePath.bytes(200_000)
                try await rig.run { channel in
                    channel.write(Buffer(payload), promise: log.promise(0))
                    channel.flush()
                    channel.write(Buffer("unflushed"), promise: log.promise(1))
                    channel.write(Buffer(WritePath.bytes(300_000)))
                    #expect(!channel.isActive)
                }
                await rig.peer.readToEnd(piece: 10_000)
                #expect(rig.peer.received == payload && rig.peer.failure == ECONNRESET)
                await rig.channel.closed()
                #expect(log.done == [.done(0, nil), .done(1, .closed)])
                #expect(log.events.filter { $0 == .error(.outboundQueueFull) }.count == 1)
            }
        }

        /// A message that no handler knows, and nobody waits for it.
        @Test(arguments: Engine.allCases)
        func aMessageThatNobodyKnowsEndsInAReset(_ engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                try await rig.run { channel in
                    channel.writeAndFlush(Buffer("before"))
                    channel.write(message: 17)
                    channel.writeAndFlush(Buffer("behind"))
                }
                await rig.peer.readToEnd()
                #expect(rig.peer.received == Array("before".utf8) && rig.peer.failure == ECONNRESET)
                await rig.channel.closed()
                #expect(rig.log.events.contains(.error(.unencodableMessage)))
            }
        }

        /// A drain that is cut off, with a peer that reads nothing.
        @Test(arguments: Engine.allCases)
        func aDrainThatIsCutOffEndsInAReset(_ engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let payload = WritePath.bytes(250_000)
                try await rig.run { channel in
                    channel.write(Buffer(payload))
                    channel.close(.drain(within: .milliseconds(20)))
                }
                await rig.channel.closed()
                await rig.peer.readToEnd()
                #expect(payload.starts(with: rig.peer.received) && rig.peer.failure == ECONNRESET)
            }
        }

        /// What the channel does when the peer's reset is in the kernel and nobody has been told.
        enum Move: CaseIterable {
            case nothing, shutsOutputDown, closes, sends, sendsAhead, sendsAndShutsOutputDown
        }

        /// A reset is told to whoever asks first: to a send, or to nobody when there is nothing to send. It must not look like
        /// a clean end to whoever asks next.
        @Test(arguments: Engine.allCases, Move.allCases)
        func aResetIsNoEndOfStreamForWhoeverAsksSecond(_ engine: Engine, move: Move) async throws {
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 65536) { rig in
                let peer = rig.peer
                try await rig.run { channel in
                    peer.reset()
                    Self.waitForReset(channel)
                    switch move {
                    case .nothing: break
                    case .shutsOutputDown: channel.shutdownOutput()
                    case .closes: channel.close()
                    case .sends: channel.writeAndFlush(Buffer("lost"))
                    case .sendsAhead:
                        channel.writeAndFlush(Buffer(WritePath.bytes(1500)))
                        channel.writeAndFlush(Buffer(WritePath.bytes(1500)))
                    case .sendsAndShutsOutputDown:
                        channel.writeAndFlush(Buffer("lost"))
                        channel.shutdownOutput()
                    }
                }
                await rig.channel.closed()
                let ends = rig.log.events.filter { $0 == .inputClosed || $0 == .error(.connectionLost) }
                #expect(ends == [.error(.connectionLost)])
            }
        }

        /// Keeps the loop from looking before the kernel has the reset.
        private static func waitForReset(_ channel: Channel) {
            guard let descriptor = channel.slot?.pointee.fd else { return }
            for _ in 0..<100_000 {
                var state: UInt8 = 0
                var length = socklen_t(1)
                guard getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &state, &length) == 0 else { break }
                // TCP_CLOSE of the kernel.
                if state == 7 { return }
                usleep(100)
            }
            Issue.record("no reset came")
        }

        /// Nothing queued: an immediate close is an end of stream, behind everything the kernel has accepted.
        @Test(arguments: Engine.allCases, [false, true])
        func anImmediateCloseWithNothingQueuedIsAnEndOfStream(_ engine: Engine, reading: Bool) async throws {
            try await WritePath.withRig(engine, [.sendBuffer(.mebibytes(1))], receiveBuffer: 16384) { rig in
                let payload = WritePath.bytes(300_000)
                rig.channel.setAutomaticReading(reading)
                rig.peer.write([UInt8](repeating: 1, count: 100))
                try await rig.channel.send(Buffer(payload))
                rig.channel.close(.immediate)
                await rig.peer.readToEnd()
                #expect(rig.peer.failure == 0)
                #expect(rig.peer.received == payload)
            }
        }
    }
}
