import CTransport
import Glibc
import Testing

@testable import SwiftTransport

extension WritePath {
    /// The ring of entries alone, without a socket (Netty: ChannelOutboundBufferTest).
    @Suite struct Queue {
        nonisolated(unsafe) private static let place = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 16)

        private func withQueue(_ body: (OutboundQueue, UnsafeMutablePointer<iovec>) -> Void) {
            let vectors = UnsafeMutablePointer<iovec>.allocate(capacity: 64)
            let queue = OutboundQueue()
            body(queue, vectors)
            while !queue.isEmpty { _ = queue.removeFirst() }
            queue.deallocate()
            vectors.deallocate()
        }

        /// An entry of `count` bytes that are nobody's neighbours.
        private func entry(_ index: Int, _ count: Int) -> OutboundEntry {
            OutboundEntry(Self.place + index * 64, count, OutboundOwner.nobody, .none)
        }

        /// W16, testEmptyNioBuffers and testNioBuffersSingleBacked: nothing to send before the flush.
        @Test func aSendGathersOnlyWhatIsFlushed() {
            withQueue { queue, vectors in
                #expect(queue.gather(vectors, limit: 64, bytes: 1 << 20) == 0)
                queue.append(entry(0, 9))
                #expect(queue.gather(vectors, limit: 64, bytes: 1 << 20) == 0)
                queue.flush()
                #expect(queue.gather(vectors, limit: 64, bytes: 1 << 20) == 1)
                #expect(vectors[0].iov_len == 9)
            }
        }

        /// W8, W23, testNioBuffersExpand, -Expand2, -MaxCount: hundreds of entries, at most `limit` vectors, a hint of bytes
        /// that the first entry always passes.
        @Test func aSendGathersUpToItsLimits() {
            withQueue { queue, vectors in
                for index in 0..<300 { queue.append(entry(index % 60, 10)) }
                queue.flush()
                #expect(queue.count == 300)
                #expect(queue.gather(vectors, limit: 10, bytes: 1 << 20) == 10)
                #expect(queue.gather(vectors, limit: 64, bytes: 1 << 20) == 64)
                #expect(queue.gather(vectors, limit: 64, bytes: 25) == 3)
                #expect(queue.gather(vectors, limit: 64, bytes: 1) == 1)
                #expect(vectors[0].iov_len == 10)
            }
        }

        /// W25: empty and cancelled entries take no vector; neighbours in memory become one.
        @Test func emptyOnesTakeNoVector() {
            withQueue { queue, vectors in
                queue.append(entry(0, 64))
                queue.append(entry(1, 64))
                queue.append(entry(9, 0))
                queue.append(entry(3, 5))
                queue.append(entry(5, 5))
                #expect(queue.cancel(3, from: 0) != nil)
                queue.flush()
                #expect(queue.gather(vectors, limit: 64, bytes: 1 << 20) == 2)
                #expect(vectors[0].iov_len == 128)
                #expect(vectors[1].iov_base == Self.place + 5 * 64)
            }
        }

        /// W20, testNioBuffersCancelledRemoveBytes: bytes go off the front, over entry boundaries, and a partly sent entry goes
        /// on where it stopped.
        @Test func bytesAreRemovedFromTheFront() {
            withQueue { queue, vectors in
                for index in 0..<3 { queue.append(entry(2 * index, 10)) }
                #expect(queue.cancel(1, from: 0) != nil)
                queue.flush()
                #expect(queue.advanceHead(4) == (4, false))
                #expect(queue.headOffset == 4 && queue.headUntouched == nil)
                #expect(queue.gather(vectors, limit: 64, bytes: 1 << 20) == 2)
                #expect(vectors[0].iov_base == Self.place + 4 && vectors[0].iov_len == 6)
                #expect(queue.advanceHead(6) == (6, true))
                _ = queue.removeFirst()
                #expect(queue.advanceHead(0) == (0, true))
                _ = queue.removeFirst()
                #expect(queue.advanceHead(100) == (10, true))
                _ = queue.removeFirst()
                #expect(queue.isEmpty && !queue.hasFlushed && queue.headOffset == 0)
            }
        }

        /// W16: small writes fill a block to its last byte; the next one begins another, and both come back when they are empty.
        @Test func blocksAreFilledToTheEnd() {
            var memory = OutboundMemory(LoopOptions())
            let queue = OutboundQueue()
            let most = OutboundMemory.blockCapacity
            let (first, one) = queue.copy(Self.place, most - 10, &memory)
            let (second, two) = queue.copy(Self.place, 10, &memory)
            #expect(second == first + most - 10 && one == two)
            let (_, three) = queue.copy(Self.place, 1, &memory)
            #expect(three != two)
            let (_, four) = queue.copy(Self.place, most, &memory)
            #expect(four != three)
            for owner in [one, two, three, four] { OutboundOwner.release(owner, to: &memory) }
            queue.releaseBlock(&memory)
            queue.deallocate()
            let spare = (0..<3).map { _ in OutboundOwner.block(memory.takeBlock()) }
            #expect(Set(spare) == [one, three, four])
            for owner in spare { OutboundOwner.release(owner, to: &memory) }
            memory.deallocate()
        }

        /// The kernel counts the bytes of a send in 31 bits: more than a GiB goes in pieces, and nothing may go along behind one.
        @Test func hugeOnesGoInPieces() {
            withQueue { queue, vectors in
                queue.append(entry(0, 5 << 30))
                queue.append(entry(9, 5))
                queue.flush()
                #expect(queue.gather(vectors, limit: 64, bytes: .max) == 1)
                #expect(vectors[0].iov_len == 1 << 30)
                #expect(queue.advanceHead(1 << 30) == (1 << 30, false))
                #expect(queue.gather(vectors, limit: 64, bytes: .max) == 1)
                #expect(vectors[0].iov_base == Self.place + (1 << 30) && vectors[0].iov_len == 1 << 30)
            }
        }

        /// A queue that grew, or that has a window for files, is not kept as a spare one.
        @Test func largeOnesAreNotKept() throws {
            var memory = OutboundMemory(LoopOptions())
            let large = memory.takeQueue()
            for index in 0..<65 { large.append(entry(index % 60, 0)) }
            for _ in 0..<65 { _ = large.removeFirst() }
            #expect(!large.isSmall)
            memory.giveBack(large)
            let next = memory.takeQueue()
            #expect(next.isSmall)
            memory.giveBack(next)
            let file = try ScratchFile(10)
            let region = try FileRegion(path: file.path)
            withQueue { queue, vectors in
                let owner = OutboundOwner.object(region)
                queue.append(OutboundEntry(Self.place, 10, owner, .none, isFile: true))
                queue.flush()
                #expect(queue.isSmall)
                #expect(queue.gather(vectors, limit: 64, bytes: 1 << 20) == 1)
                #expect(!queue.isSmall)
                OutboundOwner.release(owner, to: &memory)
            }
            memory.deallocate()
        }

        /// W8: the ring grows with its head anywhere, and keeps the order.
        @Test func theQueueGrowsInOrder() {
            withQueue { queue, _ in
                var written = 0
                var read = 0
                for round in 1...40 {
                    for _ in 0..<(round * 3) {
                        queue.append(entry(written % 60, written))
                        written += 1
                    }
                    for _ in 0..<(round * 2) {
                        #expect(queue.removeFirst().count == read)
                        read += 1
                    }
                }
                #expect(queue.count == written - read)
                #expect((0..<queue.count).allSatisfy { queue[$0].count == read + $0 })
            }
        }
    }

    /// W8, W10: an idle channel holds neither queue nor memory; both are the loop's and come back to it.
    @Suite struct QueueLending {
        @Test(arguments: WritePath.engines)
        func anIdleChannelHoldsNothing(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                #expect(try await rig.run { $0.own.queue == nil })
                let first = try await rig.run { channel in
                    channel.writeAndFlush(Buffer("a"))
                    return UInt(bitPattern: channel.own.queue?.address)
                }
                try await rig.until { $0.own.queue == nil }
                let second = try await rig.run { channel in
                    channel.writeAndFlush(Buffer("b"))
                    return UInt(bitPattern: channel.own.queue?.address)
                }
                #expect(first == second)
                #expect(await rig.peer.read(2) == Array("ab".utf8))
            }
        }

        /// W16: lent bytes that are few are copied behind each other; from `shareThreshold` on the receive memory itself is sent.
        @Test(arguments: WritePath.engines, [100, 4080, 4095, 4096])
        func fewLentBytesAreCopiedManyShared(engine: Engine, count: Int) async throws {
            final class Echo: ChannelHandler {
                let log: Log
                init(_ log: Log) { self.log = log }
                func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
                    context.write(bytes)
                    guard let queue = context.channel.own.queue else { return }
                    // What the bytes lie in: see OutboundOwner.
                    let kind = queue[queue.count - 1].owner & 3
                    log.add(.note(kind == 1 ? "block" : kind == 2 ? "receive memory" : "buffer"))
                    context.flush()
                }
            }
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [Echo($0)] }) { rig in
                rig.peer.write(WritePath.bytes(count))
                #expect(await rig.peer.read(count) == WritePath.bytes(count))
                // Between the two: too much for a block, too little to pin a chunk for.
                let small = count <= OutboundMemory.blockCapacity ? "block" : "buffer"
                #expect(rig.log.events == [.note(count < 4096 ? small : "receive memory")])
            }
        }

        /// W9 (netty#1619): counted after the entry is linked: who is told of the new level finds the entry.
        @Test(arguments: WritePath.engines)
        func anEntryIsLinkedBeforeItIsCounted(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(low: 10, high: 100)]) { rig in
                let log = rig.log
                try await rig.run { channel in
                    channel.recorder.onWritability = { context in
                        guard !context.channel.isWritable else { return }
                        log.add(.note("entries \(context.channel.own.queue?.count ?? 0)"))
                        context.flush()
                    }
                    channel.write(Buffer(WritePath.bytes(200)), promise: log.promise(0))
                }
                #expect(log.events.contains(.note("entries 1")))
                #expect(await rig.peer.read(200) == WritePath.bytes(200))
                await log.until { $0.contains(.writable(true)) }
            }
        }
    }
}
