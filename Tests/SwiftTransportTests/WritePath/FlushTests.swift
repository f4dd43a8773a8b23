import Testing

@testable import SwiftTransport

extension WritePath {
    /// A write only queues; a flush sends.
    @Suite struct Flush {
        /// W2: `write` and `flush` are two steps. Nothing leaves before the second, everything after it, in order.
        @Test(arguments: WritePath.engines)
        func nothingIsSentBeforeFlush(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let before = try await rig.sends()
                for piece in 0..<10 { rig.channel.write(Buffer(WritePath.bytes(100, seed: piece * 100))) }
                try await rig.turns()
                #expect(try await rig.sends() == before)
                #expect(rig.channel.pendingBytes == WritePath.pending(1000, writes: 10))
                #expect(!rig.peer.readSome())
                rig.channel.flush()
                #expect(await rig.peer.read(1000) == WritePath.bytes(1000))
            }
        }

        /// W11 (netty#2577): a repeated flush costs nothing, neither with something under way nor with nothing queued.
        @Test(arguments: WritePath.engines)
        func aRepeatedFlushIsFree(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let before = try await rig.sends()
                let log = rig.log
                try await rig.run { channel in
                    channel.write(Buffer("once"), promise: log.promise(0))
                    for _ in 0..<1000 { channel.flush() }
                    #expect(channel.eventLoop.own.dirty.count == 1)
                }
                await log.untilDone(1)
                try await rig.run { channel in
                    for _ in 0..<1000 { channel.flush() }
                    #expect(channel.eventLoop.own.dirty.count == 0)
                }
                try await rig.turns()
                #expect(try await rig.sends() == before + 1)
                #expect(await rig.peer.read(4) == Array("once".utf8))
            }
        }

        /// W2, W11: what was written after a flush waits for the next one.
        @Test(arguments: WritePath.engines)
        func aFlushCoversWhatWasWrittenBeforeIt(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                try await rig.run { channel in
                    channel.write(Buffer("ab"))
                    channel.flush()
                    channel.write(Buffer("cd"))
                }
                #expect(await rig.peer.read(2) == Array("ab".utf8))
                try await rig.turns()
                #expect(rig.channel.pendingBytes == WritePath.pending(2))
                #expect(!rig.peer.readSome())
            }
        }

        /// W16, W24: what a turn flushes, from wherever, leaves in one system call.
        @Test(arguments: WritePath.engines)
        func aTurnSendsOnce(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let before = try await rig.sends()
                let gate = await Gate(rig.loop)
                for piece in 0..<32 { rig.channel.writeAndFlush(Buffer(WritePath.bytes(64, seed: piece * 64))) }
                gate.open()
                #expect(await rig.peer.read(2048) == WritePath.bytes(2048))
                #expect(try await rig.sends() == before + 1)
            }
        }
    }
}
