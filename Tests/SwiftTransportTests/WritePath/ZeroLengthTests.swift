import Testing

@testable import SwiftTransport

extension WritePath {
    /// Writes without bytes.
    @Suite struct ZeroLength {
        /// W25: they complete in their turn, and nothing is sent for them.
        @Test(arguments: WritePath.engines)
        func emptyWritesCompleteInOrder(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                let before = try await rig.sends()
                try await rig.run { channel in
                    for (tag, text) in ["", "a", "", "", "b", ""].enumerated() {
                        channel.write(Buffer(text), promise: log.promise(tag))
                    }
                    #expect(log.done.isEmpty)
                    channel.flush()
                    #expect(log.done.isEmpty)
                }
                await log.untilDone(6)
                #expect(log.done == (0..<6).map { .done($0, nil) })
                #expect(await rig.peer.read(2) == Array("ab".utf8))
                #expect(try await rig.sends() == before + 1)
            }
        }

        /// W25: alone, without any send at all. A task that awaits one goes on.
        @Test(arguments: WritePath.engines)
        func anEmptyWriteAloneCompletes(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let before = try await rig.sends()
                try await rig.channel.send(Buffer())
                try await rig.channel.send(Buffer(""))
                #expect(try await rig.sends() == before)
                #expect(rig.channel.pendingBytes == 0)
            }
        }

        /// W25, W10: each counts its entry, so a million of them cannot hide.
        @Test(arguments: WritePath.engines)
        func emptyWritesCountTheirEntry(engine: Engine) async throws {
            let mark = WaterMark(low: 100, high: 1000, hardLimit: 1000)
            try await WritePath.withRig(engine, [.waterMark(mark)]) { rig in
                let log = rig.log
                try await rig.run { channel in
                    for tag in 0..<21 { channel.write(Buffer(), promise: log.promise(tag)) }
                    #expect(channel.pendingBytes == WritePath.pending(0, writes: 20))
                    #expect(log.done == [.done(20, .outboundQueueFull)])
                }
            }
        }
    }
}
