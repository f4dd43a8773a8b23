import Testing

@testable import SwiftTransport

extension WritePath {
    /// 31 reasons of the user's own why a channel should not be written to (netty#2945, #3036).
    @Suite struct UserFlags {
        /// testUserDefinedWritability: each of the 31 alone.
        @Test(arguments: WritePath.engines)
        func eachFlagWorksAlone(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                try await rig.run { channel in
                    for index in 1...31 {
                        channel.setWritable(false, flag: index)
                        #expect(!channel.isWritable && !channel.isWritable(flag: index))
                        #expect(channel.isWritable(flag: index % 31 + 1))
                        channel.setWritable(true, flag: index)
                        #expect(channel.isWritable && channel.isWritable(flag: index))
                    }
                }
                #expect(log.writable == (0..<31).flatMap { _ in [false, true] })
            }
        }

        /// testUserDefinedWritability2: a second flag is no event; writable only when all are.
        @Test(arguments: WritePath.engines)
        func flagsWorkTogether(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                try await rig.run { channel in
                    channel.setWritable(false, flag: 1)
                    channel.setWritable(false, flag: 31)
                    channel.setWritable(false, flag: 31)
                    #expect(log.writable == [false])
                    channel.setWritable(true, flag: 1)
                    #expect(log.writable == [false] && !channel.isWritable)
                    channel.setWritable(true, flag: 31)
                    #expect(log.writable == [false, true] && channel.isWritable)
                }
            }
        }

        /// testMixedWritability: water mark and flag: no event while the other still blocks. Off the loop too.
        @Test(arguments: WritePath.engines)
        func flagsAndWaterMarkWorkTogether(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(low: 500, high: 1000)]) { rig in
                let log = rig.log
                rig.channel.setWritable(false, flag: 5)
                try await rig.run { channel in
                    #expect(log.writable == [false])
                    channel.write(Buffer(WritePath.bytes(2000)))
                    #expect(log.writable == [false])
                    #expect(channel.bytesBeforeWritable > 0)
                    channel.setWritable(true, flag: 5)
                    #expect(log.writable == [false])
                    channel.setWritable(false, flag: 5)
                    channel.flush()
                }
                try await rig.until { $0.pendingBytes == 0 }
                #expect(log.writable == [false] && !rig.channel.isWritable)
                #expect(rig.channel.bytesBeforeWritable == 0)
                rig.channel.setWritable(true, flag: 5)
                await log.until(.writable(true))
                #expect(log.writable == [false, true])
            }
        }

        /// Asked for, a flag that does not exist is no reason not to write, whatever the library's own reasons are.
        @Test(arguments: WritePath.engines)
        func flagsThatDoNotExistAreNeverSet(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(low: 500, high: 1000)]) { rig in
                try await rig.run { channel in
                    channel.write(Buffer(WritePath.bytes(2000)))
                    channel.close(.immediate)
                    #expect(!channel.isWritable)
                    for index in [0, 32, 63, -1] { #expect(channel.isWritable(flag: index)) }
                }
            }
        }

        /// Flags 0 and 32 do not exist: a mistake in the program.
        @Test(arguments: [0, 32, -1])
        func otherNumbersStopTheProgram(index: Int) async {
            await #expect(processExitsWith: .failure) { [index] in
                let group = try EventLoopGroup(loops: 1)
                Channel(eventLoop: group.loops[0], configuration: ChannelConfiguration()).setWritable(
                    false, flag: index)
            }
        }
    }
}
