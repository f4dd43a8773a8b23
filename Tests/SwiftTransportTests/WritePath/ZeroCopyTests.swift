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
        func givesUpOnLoopback(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.options) { rig in
                let payload = WritePath.bytes(100_000)
                for round in 1...30 {
                    async let sent: Void = rig.channel.send(Buffer(payload))
                    #expect(await rig.peer.read(round * payload.count).suffix(payload.count) == payload[...])
                    try await sent
                }
                // epoll has no such thing and copies from the start.
                try await rig.until { $0.zeroCopy?.isGivenUp == (engine == .uring) }
                try await rig.channel.send(Buffer("small"))
                #expect(await rig.peer.read(3_000_005).suffix(5) == Array("small".utf8)[...])
            }
        }

        /// netty#15599, #15709: memory is the kernel's until the notification, and then it is nobody's; through a straw, where
        /// results are partial.
        @Test(arguments: WritePath.engines)
        func memoryUntilTheNotification(engine: Engine) async throws {
            let options = Self.options + [.sendBuffer(16384)]
            try await WritePath.withRig(engine, options, receiveBuffer: 16384) { rig in
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

        /// netty#15599: cut off with zero-copy sends under way, it closes all the same, and frees everything.
        @Test(arguments: WritePath.engines, [CloseMode.immediate, .reset])
        func cutOff(engine: Engine, mode: CloseMode) async throws {
            let options = Self.options + [.sendBuffer(16384)]
            try await WritePath.withRig(engine, options, receiveBuffer: 16384) { rig in
                let log = rig.log
                let witness = try await rig.run { channel in
                    let buffer = Buffer(WritePath.bytes(400_000))
                    for tag in 0..<3 { channel.write(buffer, completion: log.completion(tag)) }
                    channel.flush()
                    return Witness(buffer)
                }
                try await rig.until { $0.writing.inFlight }
                rig.channel.close(mode)
                // What the kernel has accepted is still delivered; a reset drops it, and needs nothing of the peer.
                if mode == .immediate { await rig.peer.readToEnd() }
                await rig.channel.closed()
                #expect(log.done == (0..<3).map { .done($0, .closed) })
                #expect(witness.isFreed)
            }
        }

        /// netty#17126, #16438: a Unix socket cannot do it: the same bytes go again with a copy, once, and it is not tried again.
        @Test(arguments: WritePath.engines)
        func unixSocketCannot(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.options, unix: true) { rig in
                let payload = WritePath.bytes(300_000)
                for round in 1...3 {
                    async let sent: Void = rig.channel.send(Buffer(payload))
                    #expect(await rig.peer.read(round * payload.count).suffix(payload.count) == payload[...])
                    try await sent
                }
                #expect(try await rig.run { $0.zeroCopy?.isGivenUp } == (engine == .uring))
            }
        }

        /// netty inc#19, #15699: where no memory may be locked the kernel answers ENOMEM: the same bytes go again with a copy.
        @Test(.enabled(if: Machine.hasURing)) func noLockedMemory() async {
            await #expect(processExitsWith: .success) {
                await inChild {
                    // Enough for a ring, and not for what is sent.
                    try LockedMemory.limit(to: 1 << 20)
                    try await WritePath.withRig(.uring, Self.options) { rig in
                        let payload = WritePath.bytes(2_000_000)
                        async let sent: Void = rig.channel.send(Buffer(payload))
                        #expect(await rig.peer.read(payload.count) == payload)
                        try await sent
                        #expect(try await rig.run { $0.zeroCopy?.isGivenUp } == true)
                    }
                }
            }
        }

        /// A file's window is filled anew for each piece, so it must never be sent without a copy, wherever the file stands.
        @Test(arguments: WritePath.engines)
        func filesAreCopied(engine: Engine) async throws {
            let file = try ScratchFile(600_000)
            let options = Self.options + [.sendBuffer(.kibibytes(256))]
            try await WritePath.withRig(engine, options, receiveBuffer: 16384) { rig in
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
