import Testing

@testable import SwiftTransport

extension WritePath {
    /// When a channel says stop, and when it says go on. Unflushed writes make every level exact.
    @Suite struct WaterMarks {
        private static let overhead = WaterMark.entryOverhead.bytes
        private static let marks: [ChannelOption] = [.waterMark(low: 500, high: 1000)]

        /// M1: 32 KiB and 64 KiB; what is out of order is raised; low is never 0, because nothing is below it.
        @Test func defaultsAreInOrder() {
            let mark = WaterMark()
            #expect(mark.low == .kibibytes(32) && mark.high == .kibibytes(64))
            #expect(mark.hardLimit.bytes == 64 * 1024 * WaterMark.defaultHardLimitFactor)
            let odd = WaterMark(low: 700, high: 300, hardLimit: 10)
            #expect(odd.low == 700 && odd.high == 700 && odd.hardLimit == 700)
            #expect(WaterMark(low: 0, high: 0).low == 1)
            #expect(WaterMark(low: 0, high: ByteCount(.max)).hardLimit.bytes == .max)
        }

        /// M1: a channel has them from its options, and anybody may ask.
        @Test(arguments: WritePath.engines)
        func aChannelHasItsOptionsMarks(engine: Engine) async throws {
            try await WritePath.withRig(engine) { #expect($0.channel.waterMark == WaterMark()) }
            try await WritePath.withRig(engine, Self.marks) { #expect($0.channel.waterMark.high == 1000) }
        }

        /// M5, testWritability: strictly above `high`, strictly below `low`; an event at each edge and at no other time.
        @Test(arguments: WritePath.engines)
        func bothEdgesAreStrict(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.marks) { rig in
                let log = rig.log
                try await rig.run { channel in
                    let context = channel.recorderContext
                    let keep = 500 - 3 * Self.overhead - 1
                    context.write(Buffer(WritePath.bytes(keep)))
                    let one = context.write(Buffer("1"), promise: log.promise(1))
                    let most = context.write(
                        Buffer(WritePath.bytes(1000 - 500)), promise: log.promise(2))
                    // At the mark is not above it.
                    #expect(channel.pendingBytes == 1000 && channel.isWritable && log.writable.isEmpty)
                    let above = context.write(Buffer("2"), promise: log.promise(3))
                    #expect(log.writable == [false] && !channel.isWritable)
                    context.write(Buffer("3"))
                    #expect(log.writable == [false])
                    channel.cancel(above)
                    channel.cancel(most)
                    channel.setWaterMark(WaterMark(low: ByteCount(channel.pendingBytes), high: 1000))
                    // At the low mark is not below it.
                    #expect(!channel.isWritable && log.writable == [false])
                    channel.cancel(one)
                    #expect(channel.isWritable && log.writable == [false, true])
                }
            }
        }

        /// M2, M5: bytes count, not entries; the kernel taking them lowers the level.
        @Test(arguments: WritePath.engines)
        func bytesCountNotEntries(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.marks) { rig in
                let log = rig.log
                try await rig.run { channel in
                    for _ in 0..<10 { channel.write(Buffer("x")) }
                    #expect(channel.isWritable)
                    channel.write(Buffer(WritePath.bytes(2000)))
                    #expect(!channel.isWritable)
                    #expect(channel.pendingBytes == WritePath.pending(2010, writes: 11))
                    channel.flush()
                }
                await log.until(.writable(true))
                #expect(log.writable == [false, true])
                #expect(await rig.peer.read(2010).count == 2010)
            }
        }

        /// M3, M4: the marks only tell. Who does not look may go on writing, until the hard limit; who looks can drop.
        @Test(arguments: WritePath.engines)
        func marksOnlyTell(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.marks) { rig in
                let log = rig.log
                try await rig.run { channel in
                    for tag in 0..<5 { channel.write(Buffer(WritePath.bytes(1000)), promise: log.promise(tag)) }
                    #expect(!channel.isWritable && log.done.isEmpty)
                    if channel.isActive && channel.isWritable { channel.write(Buffer("dropped")) }
                    channel.flush()
                }
                await log.untilDone(5)
                #expect(await rig.peer.read(5000).count == 5000)
                #expect(!rig.peer.readSome())
            }
        }

        /// netty#13389: `bytesBeforeUnwritable` more pending bytes make it unwritable, one less do not.
        @Test(arguments: WritePath.engines, [0, 1])
        func bytesBeforeUnwritableAreExact(engine: Engine, short: Int) async throws {
            try await WritePath.withRig(engine, Self.marks) { rig in
                try await rig.run { channel in
                    channel.write(Buffer(WritePath.bytes(100)))
                    #expect(channel.bytesBeforeUnwritable == 1000 - WritePath.pending(100) + 1)
                    let room = channel.bytesBeforeUnwritable - Self.overhead - short
                    channel.write(Buffer(WritePath.bytes(room)))
                    #expect(channel.isWritable == (short == 1))
                    #expect(channel.bytesBeforeUnwritable == short)
                }
            }
        }

        /// Marks that nothing reaches: the distance is the largest number, not one more.
        @Test(arguments: WritePath.engines)
        func aMarkThatNothingReachesIsFarAway(engine: Engine) async throws {
            let endless = WaterMark(low: 1, high: ByteCount(.max))
            try await WritePath.withRig(engine, [.waterMark(endless)]) { rig in
                try await rig.run { channel in
                    #expect(channel.bytesBeforeUnwritable == Int.max)
                    channel.write(Buffer(WritePath.bytes(100)))
                    #expect(channel.bytesBeforeUnwritable == Int.max - WritePath.pending(100) + 1)
                    #expect(channel.isWritable && channel.bytesBeforeWritable == 0)
                }
            }
        }

        /// netty#13389: when `bytesBeforeWritable` bytes are gone it is writable, with one less it is not.
        @Test(arguments: WritePath.engines, [0, 1])
        func bytesBeforeWritableAreExact(engine: Engine, short: Int) async throws {
            try await WritePath.withRig(engine, Self.marks) { rig in
                try await rig.run { channel in
                    #expect(channel.bytesBeforeWritable == 0)
                    channel.write(Buffer(WritePath.bytes(2000)))
                    let wanted = channel.bytesBeforeWritable
                    #expect(wanted == WritePath.pending(2000) - 500 + 1)
                    // Lowering the level by `wanted` is the same as raising the mark by as much.
                    channel.setWaterMark(WaterMark(low: ByteCount(500 + wanted - short), high: 5000))
                    #expect(channel.isWritable == (short == 0))
                    #expect(channel.bytesBeforeWritable == short)
                }
            }
        }

        /// Live marks: compared with what is pending at once, in both directions (Netty and SwiftNIO wait for the next write).
        @Test(arguments: WritePath.engines, [true, false])
        func newMarksCountAtOnce(engine: Engine, onLoop: Bool) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                rig.channel.write(Buffer(WritePath.bytes(2000)))
                let set: @Sendable (WaterMark) async throws -> Void = { mark in
                    if onLoop { try await rig.run { $0.setWaterMark(mark) } } else { rig.channel.setWaterMark(mark) }
                    try await rig.turns(2)
                }
                let pending = WritePath.pending(2000)
                try await set(WaterMark(low: 500, high: ByteCount(pending)))
                #expect(log.writable.isEmpty && rig.channel.bytesBeforeUnwritable == 1)
                try await set(WaterMark(low: 500, high: ByteCount(pending - 1)))
                #expect(log.writable == [false])
                try await set(WaterMark(low: 500, high: 1000))
                #expect(log.writable == [false] && !rig.channel.isWritable)
                try await set(WaterMark(low: 600, high: 1200))
                #expect(log.writable == [false])
                try await set(WaterMark(low: 4000, high: 8000))
                #expect(log.writable == [false, true] && rig.channel.isWritable)
                #expect(rig.channel.waterMark.high == 8000)
            }
        }
    }
}
