import CTransport
import Glibc
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// Parts of lent bytes, bytes of somebody else's, and bytes that are appended.
    struct LentAndAdoptedTests {
        // MARK: Lent

        /// Cuts what comes in into pieces of three, as ranges of ranges, and sends them back.
        private final class Cutter: ChannelHandler {
            static let interests: ChannelEvents = [.read, .readComplete]
            func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
                var rest = bytes
                while rest.count > 0 {
                    context.write(rest[0..<3])
                    rest = rest[min(3, rest.count)..<rest.count]
                }
            }
            func channelReadComplete(_ context: ChannelContext) { context.flush() }
        }

        /// Passes on, as a span of its own memory, what it got, changed; as a handler that decrypts does.
        private final class Opener: ChannelHandler {
            static let interests: ChannelEvents = [.read]
            func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
                var opened = bytes.withUnsafeBytes { $0.map { $0 ^ 0x20 } }
                context.fireChannelRead(opened.span.bytes)
                // Who kept it has a copy.
                for index in opened.indices { opened[index] = 0 }
            }
        }

        private final class Keeper: ChannelHandler {
            static let interests: ChannelEvents = [.read]
            private let kept: Watched<[Buffer]>
            init(_ kept: Watched<[Buffer]>) { self.kept = kept }
            func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
                let pieces = [Buffer(bytes), Buffer(bytes[2..<4]), Buffer(bytes[4..<100]), Buffer(bytes[9..<9])]
                kept.update { $0 += pieces }
                context.write(bytes[0..<2])
                context.writeAndFlush(bytes)
            }
        }

        @Test(arguments: Place.all) func aRangeOfLentBytesIsLent(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let (_, peer) = try await group.connection(place) { [Cutter()] }
                for count in [1, 3, 10, 20_000] {
                    let bytes = Pattern(seed: 5).bytes(at: 0, count: count)
                    try await blocking { try peer.write(bytes) }
                    #expect(try await blocking { try peer.read(count) } == bytes)
                }
                peer.close()
            }
        }

        /// A range of what was received shares its memory, as the whole does.
        @Test(arguments: Place.all) func aRangeIsKeptWithoutACopy(_ place: Place) async throws {
            final class Sharer: ChannelHandler {
                static let interests: ChannelEvents = [.read]
                let kept: Watched<[Buffer]>
                init(_ kept: Watched<[Buffer]>) { self.kept = kept }
                func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
                    guard bytes.count > 8192 else { return }
                    let pieces = [Buffer(bytes), Buffer(bytes[100..<bytes.count]), Buffer(bytes[0..<10])]
                    kept.update { $0 += pieces }
                }
            }
            try await withGroup(place.engine) { group in
                let kept = Watched<[Buffer]>([])
                let (channel, peer) = try await group.connection(place) { [Sharer(kept)] }
                try await withLoopHeld(channel.eventLoop) {
                    try await blocking { try peer.write(Pattern(seed: 5).bytes(at: 0, count: 12_000)) }
                }
                let pieces = try await kept.wait(for: "the bytes") { !$0.isEmpty }
                #expect(pieces[1].owner === pieces[0].owner && pieces[1].start == pieces[0].start.map { $0 + 100 })
                #expect(pieces[2].owner !== pieces[0].owner && pieces[2] == pieces[0][0..<10])
                peer.close()
            }
        }

        /// Lent bytes become an array and a text, which outlive the call.
        @Test func lentBytesAreCopiedOut() {
            let buffer = Buffer("häh\u{0}?")
            let lent = ReadBytes(lending: buffer)
            var array = [UInt8](lent[0..<1])
            array.append(contentsOf: lent[1..<lent.count])
            #expect(array == [UInt8](lent) && array == Array("häh\u{0}?".utf8))
            #expect(String(lent) == "häh\u{0}?")
            #expect(String(lent[0..<2]) == "h\u{FFFD}")
            #expect([UInt8](lent[3..<3]).isEmpty && String(lent[3..<3]).isEmpty)
        }

        @Test(arguments: Place.all) func aSpanIsPassedOn(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let kept = Watched<[Buffer]>([])
                let (_, peer) = try await group.connection(place) { [Opener(), Keeper(kept)] }
                try await blocking { try peer.write("ABCDEF") }
                #expect(try await blocking { try peer.read(8) } == Array("ababcdef".utf8))
                #expect(kept.value == ["abcdef", "cd", "ef", ""])
                peer.close()
            }
        }

        // MARK: Adopted

        /// Somebody else's memory.
        private final class Foreign: @unchecked Sendable {
            let bytes: UnsafeRawBufferPointer
            private let freed: Watched<Bool>
            init(_ content: [UInt8], _ freed: Watched<Bool>) {
                let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: content.count, alignment: 1)
                memory.copyBytes(from: content)
                bytes = UnsafeRawBufferPointer(memory)
                self.freed = freed
            }
            deinit {
                // What is still read now is seen.
                UnsafeMutableRawBufferPointer(mutating: bytes).initializeMemory(as: UInt8.self, repeating: 0)
                bytes.deallocate()
                freed.update { $0 = true }
            }
        }

        /// Sent from where it is, small and large, by slices too, and freed when the last of them is gone.
        @Test(arguments: Place.all, [5, 100_000]) func adoptedMemoryIsSentAndFreed(_ place: Place, _ count: Int)
            async throws
        {
            try await withGroup(place.engine) { group in
                let freed = Watched(false)
                let content = Pattern(seed: 11).bytes(at: 0, count: count)
                let (channel, peer) = try await group.connection(place)
                try await group.turn {
                    let owner = Foreign(content, freed)
                    let buffer = Buffer(adopting: owner.bytes, owner: owner)
                    #expect(buffer.start == owner.bytes.baseAddress)
                    channel.write(buffer[0..<3])
                    channel.writeAndFlush(buffer[3..<count])
                }
                #expect(try await blocking { try peer.read(count) } == content)
                try await freed.wait(for: "the memory to be freed") { $0 }
                peer.close()
            }
        }

        @Test func nothingIsAdoptedWhereThereIsNothing() {
            let freed = Watched(false)
            let buffer = Buffer(adopting: UnsafeRawBufferPointer(start: nil, count: 0), owner: Foreign([], freed))
            #expect(buffer.isEmpty && freed.value)
        }

        /// Literals are sent from the program itself, whatever their size.
        @Test(arguments: Place.all) func literalsAreSentFromTheProgram(_ place: Place) async throws {
            let small: Buffer = "small "
            let large = Buffer(Self.large)
            #expect(small.owner == nil && large.owner == nil && large.count == 1280)
            #expect(Buffer(stringLiteral: "é") == Buffer([0xC3, 0xA9]) && ("" as Buffer).isEmpty)
            #expect(small[1..<3] == "ma" && String(small) == "small ")
            try await withGroup(place.engine) { group in
                let (channel, peer) = try await group.connection(place)
                channel.write(small)
                channel.writeAndFlush(large)
                #expect(try await blocking { try peer.read(1286) } == [UInt8](small) + [UInt8](large))
                peer.close()
            }
        }

        /// 1,280 bytes: more than is copied.
        private static let large: StaticString = """
            ................................................................................................................................\
            ................................................................................................................................\
            ................................................................................................................................\
            ................................................................................................................................\
            ................................................................................................................................\
            ................................................................................................................................\
            ................................................................................................................................\
            ................................................................................................................................\
            ................................................................................................................................\
            ................................................................................................................................
            """

        /// Neither a literal nor adopted memory costs an allocation.
        @Test(.enabled(if: ct_memory_thread_allocated() > 0, "needs the trait Jemalloc: malloc does not count"))
        func adoptingAllocatesNothing() {
            let owner = Foreign([1, 2, 3], Watched(false))
            var total = 0
            let before = ct_memory_thread_allocated()
            for _ in 0..<100 {
                let literal: Buffer = "hello"
                total += literal.count + Buffer(adopting: owner.bytes, owner: owner)[1..<3].count
            }
            #expect(ct_memory_thread_allocated() - before == 0)
            #expect(total == 700)
        }

        // MARK: Appended

        @Test func everyKindCanBeAppended() throws {
            let payload: Buffer = "payload"
            let made = Buffer(capacity: 40) { output in
                output.append(UInt32(payload.count).bigEndian, as: UInt32.self)
                output.append(payload)
                output.append(payload[0..<3].span)
                output.append("é!")
                output.append(Buffer())
                #expect(output.freeCapacity == 40 - 4 - 7 - 3 - 3)
            }
            #expect([UInt8](made) == [0, 0, 0, 7] + Array("payloadpayé!".utf8))
            #expect(Buffer(capacity: -1) { _ in }.isEmpty)
            struct Stop: Error {}
            #expect(throws: Stop.self) { try Buffer(capacity: 10) { _ throws(Stop) in throw Stop() } }
        }

        /// As with every span of the standard library, more than there is room for stops the program.
        @Test func appendingTooMuchStopsTheProgram() async {
            let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                _ = Buffer(capacity: 3) { $0.append("four" as Buffer) }
            }
            let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
            #expect(text.contains("4 bytes do not fit into the 3 that are left"))
        }
    }
}
