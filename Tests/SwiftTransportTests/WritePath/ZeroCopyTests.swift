import CTransport
import Glibc
import Testing

@testable import SwiftTransport

extension WritePath {
    /// Sending without a copy, where the kernel may read the memory long after the result.
    @Suite struct ZeroCopy {
        private static let options: [ChannelOption] = [
            .zeroCopy(from: .kibibytes(32)), .waterMark(low: 1000, high: 2000, hardLimit: .mebibytes(64)),
        ]

        /// On loopback the kernel copies all the same: after some notifications that say so the channel gives it up by itself.
        /// Every byte is right, before and after.
        @Test(arguments: WritePath.engines)
        func loopbackGivesItUp(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.options) { rig in
                let payload = WritePath.bytes(100_000)
                for round in 1...30 {
                    async let sent: Void = rig.channel.send(Buffer(payload))
                    #expect(await rig.peer.read(round * payload.count).suffix(payload.count) == payload[...])
                    try await sent
                }
                // epoll has no such thing and copies from the start.
                try await rig.until { $0.own.zeroCopy?.isGivenUp == (engine == .uring) }
                try await rig.channel.send(Buffer("small"))
                #expect(await rig.peer.read(3_000_005).suffix(5) == Array("small".utf8)[...])
            }
        }

        /// netty#15599, #15709: memory is the kernel's until the notification, and then it is nobody's; through a straw, where
        /// results are partial.
        @Test(arguments: WritePath.engines)
        func memoryIsTheKernelsUntilTheNotification(engine: Engine) async throws {
            let options = Self.options + [.sendBuffer(16384)]
            try await WritePath.withRig(engine, options, receiveBuffer: 32768) { rig in
                let all = WritePath.bytes(1_000_000)
                let witness = try await rig.run { channel in
                    let whole = Buffer(all)
                    for index in 0..<10 { channel.write(whole[(index * 100_000)..<((index + 1) * 100_000)]) }
                    channel.flush()
                    return Witness(whole)
                }
                #expect(await rig.peer.read(all.count, piece: 7000) == all)
                try await rig.until { $0.pendingBytes == 0 }
                try await rig.until { _ in witness.isFreed }
                #expect(witness.isFreed)
            }
        }

        /// netty#15599: a write is over when the kernel has taken it, its memory when the kernel has read it: in between it is held.
        @Test(arguments: WritePath.engines)
        func memoryIsHeldBetweenTheTwoEnds(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.options, receiveBuffer: 32768) { rig in
                let log = rig.log
                let payload = WritePath.bytes(200_000)
                let witness = try await rig.run { channel in
                    let buffer = Buffer(payload)
                    channel.writeAndFlush(buffer, promise: log.promise(0))
                    return Witness(buffer)
                }
                await log.until(.done(0, nil))
                // The peer has read nothing, and its window holds only a part.
                try await rig.run { channel in
                    #expect(channel.own.zeroCopy?.isOutstanding == (engine == .uring))
                    #expect(witness.isFreed == (engine == .epoll))
                }
                #expect(await rig.peer.read(payload.count) == payload)
                try await rig.until { _ in witness.isFreed }
            }
        }

        /// netty#16130: what is sent without a copy goes alone; the small write behind it is copied, in a send of its own.
        @Test(arguments: WritePath.engines)
        func smallOnesDoNotGoAlong(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.options) { rig in
                let before = try await rig.sends()
                let payload = WritePath.bytes(40_000)
                try await rig.run { channel in
                    channel.write(Buffer(payload))
                    channel.write(Buffer("small"))
                    channel.flush()
                }
                #expect(await rig.peer.read(40_005) == payload + Array("small".utf8))
                try await rig.until { $0.pendingBytes == 0 }
                #expect(try await rig.sends() == before + 2)
            }
        }

        /// netty#15599: cut off with zero-copy sends under way, it closes all the same, and frees everything.
        @Test(arguments: WritePath.engines, [CloseMode.immediate, .reset])
        func zeroCopySendsMayBeCutOff(engine: Engine, mode: CloseMode) async throws {
            let options = Self.options + [.sendBuffer(16384)]
            try await WritePath.withRig(engine, options, receiveBuffer: 32768) { rig in
                let log = rig.log
                let witness = try await rig.run { channel in
                    let buffer = Buffer(WritePath.bytes(400_000))
                    for tag in 0..<3 { channel.write(buffer, promise: log.promise(tag)) }
                    channel.flush()
                    return Witness(buffer)
                }
                try await rig.until { $0.own.writing.inFlight }
                rig.channel.close(mode)
                // What the kernel has accepted is still delivered; a reset drops it, and needs nothing of the peer.
                if mode == .immediate { await rig.peer.readToEnd() }
                await rig.channel.closed()
                #expect(log.done == (0..<3).map { .done($0, .closed) })
                #expect(witness.isFreed)
            }
        }

        /// A notification that never comes, because the kernel had no memory for it, holds nothing beyond the end.
        @Test(arguments: WritePath.engines)
        func aNotificationThatNeverComesHoldsNothing(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.options) { rig in
                let witness = try await rig.run { channel in
                    let buffer = Buffer(WritePath.bytes(50_000))
                    guard let sender = channel.own.zeroCopy else { return Witness(buffer) }
                    _ = sender.begin()
                    var event = ct_event()
                    event.result = 50_000
                    event.flags = UInt16(CT_EVENT_MORE)
                    _ = sender.sent(event)
                    #expect(sender.hold(OutboundOwner.object(buffer.owner!), buffer.count))
                    channel.count(buffer.count)
                    return Witness(buffer)
                }
                #expect(!witness.isFreed)
                rig.channel.close(.immediate)
                await rig.channel.closed()
                #expect(witness.isFreed)
            }
        }

        /// A drain that is cut off does not wait for a peer that never reads what was sent without a copy: it resets.
        @Test(arguments: WritePath.engines)
        func cutOffDoesNotWaitForThePeer(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.options, receiveBuffer: 32768) { rig in
                let log = rig.log
                rig.channel.writeAndFlush(Buffer(WritePath.bytes(200_000)), promise: log.promise(0))
                await log.until(.done(0, nil))
                rig.channel.close(.drain(within: .milliseconds(1)))
                await rig.channel.closed()
                await rig.peer.readToEnd()
                #expect(rig.peer.failure == (engine == .uring ? ECONNRESET : 0))
            }
        }

        /// netty#17126, #16438: a Unix socket cannot do it: the same bytes go again with a copy, once, and it is not tried again.
        @Test(arguments: WritePath.engines)
        func aUnixSocketSendsWithACopy(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.options, unix: true) { rig in
                let payload = WritePath.bytes(300_000)
                for round in 1...3 {
                    async let sent: Void = rig.channel.send(Buffer(payload))
                    #expect(await rig.peer.read(round * payload.count).suffix(payload.count) == payload[...])
                    try await sent
                }
                #expect(try await rig.run { $0.own.zeroCopy?.isGivenUp } == (engine == .uring))
            }
        }

        /// netty#15699: where no memory may be locked the kernel answers ENOMEM: the same bytes go again with a copy.
        @Test(.enabled(if: Engine.uring.isAvailable)) func withoutLockedMemoryBytesAreCopied() async {
            await #expect(processExitsWith: .success) {
                await inChild {
                    // Enough for a ring, and not for what is sent.
                    try LockedMemory.limit(to: 1 << 20)
                    try await WritePath.withRig(.uring, Self.options) { rig in
                        let payload = WritePath.bytes(2_000_000)
                        async let sent: Void = rig.channel.send(Buffer(payload))
                        #expect(await rig.peer.read(payload.count) == payload)
                        try await sent
                        #expect(try await rig.run { $0.own.zeroCopy?.isGivenUp } == true)
                    }
                }
            }
        }

        /// A file's window is filled anew for each piece, so it must never be sent without a copy, wherever the file stands.
        @Test(arguments: WritePath.engines)
        func filesAreCopied(engine: Engine) async throws {
            let file = try ScratchFile(600_000)
            let options = Self.options + [.sendBuffer(.kibibytes(256))]
            try await WritePath.withRig(engine, options, receiveBuffer: 32768) { rig in
                let region = try FileRegion(path: file.path)
                try await rig.run { channel in
                    // An empty write before the file: what is sent is the file's all the same.
                    channel.write(Buffer())
                    channel.write(region)
                    channel.flush()
                }
                #expect(await rig.peer.read(file.bytes.count) == file.bytes)
            }
        }
    }
}
