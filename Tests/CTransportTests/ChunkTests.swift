import CTransport
import Glibc
import Testing

@Suite struct ChunkTests {
    private static let chunk = 4096
    private static let budget = 8 * chunk

    private func withSmallLoop(_ variant: Variant, _ body: (TestLoop) throws -> Void) throws {
        let options = ct_loop_options(chunkSize: Self.chunk, chunksLent: 2, receiveBudget: Self.budget)
        try withLoop(variant, options: options, body)
    }

    /// A reader that keeps everything: the loop's receive memory stays within its budget, the connection waits with its
    /// bytes in the kernel, and goes on where it stopped when memory comes back (ENOBUFS).
    @Test(arguments: Variant.all)
    func budgetHoldsAndReadingResumes(variant: Variant) throws {
        try withSmallLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection()
            let bytes = pattern(100_000)
            loop.keepsChunks = true
            #expect(peer.write(bytes) == bytes.count)
            #expect(loop.reaches { loop.statistics.starved > 0 })
            loop.settle()
            #expect(loop.statistics.chunk_bytes <= UInt64(Self.budget))
            #expect(endpoint.received.count <= Self.budget)
            #expect(endpoint.received.count > 0)
            #expect(endpoint.slot.pointee.starved)
            #expect(loop.statistics.receive_exhausted > 0)

            #expect(
                loop.reaches {
                    if endpoint.slot.pointee.starved { loop.releaseHeld() }
                    return endpoint.received.count == bytes.count
                })
            #expect(endpoint.received == bytes)
            #expect(loop.statistics.chunk_bytes <= UInt64(Self.budget))
        }
    }

    /// Connections that wait for memory are served first come, first served.
    @Test(arguments: Variant.all)
    func starvedAreFedInOrder(variant: Variant) throws {
        try withSmallLoop(variant) { loop in
            let (hog, hogPeer) = try loop.connection()
            loop.keepsChunks = true
            hogPeer.write(pattern(100_000))
            #expect(loop.reaches { hog.slot.pointee.starved })
            var order: [Int] = []
            let waiting = try (0..<6).map { i in
                let (endpoint, peer) = try loop.connection()
                endpoint.onReceive = { _ in if order.last != i { order.append(i) } }
                peer.write(pattern(100, seed: i))
                #expect(loop.reaches { endpoint.slot.pointee.starved })
                return (endpoint, peer)
            }
            #expect(order.isEmpty)
            ct_receive_stop(loop.loop, hog.slot)
            loop.keepsChunks = false
            loop.releaseHeld()
            #expect(loop.reaches { waiting.allSatisfy { $0.0.received.count == 100 } })
            #expect(order == Array(0..<6))
            for (i, (endpoint, _)) in waiting.enumerated() { #expect(endpoint.received == pattern(100, seed: i)) }
        }
    }

    /// A slice may be dropped on any thread; the sleeping loop is told when a connection waits for the memory.
    @Test(arguments: Variant.all)
    func memoryFromAnotherThreadWakesTheLoop(variant: Variant) throws {
        try withSmallLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection()
            let bytes = pattern(150_000)
            loop.keepsChunks = true
            #expect(peer.write(bytes) == bytes.count)
            while endpoint.received.count < bytes.count {
                if endpoint.slot.pointee.starved && !loop.held.isEmpty {
                    let held = Handle(loop.held)
                    loop.held = []
                    let releasing = TestThread { for chunk in held.pointer { ct_chunk_release(chunk) } }
                    let before = endpoint.received.count
                    let wokenUp = loop.wakes { endpoint.received.count > before }
                    releasing.join()
                    try #require(wokenUp)
                } else {
                    loop.turn()
                }
            }
            #expect(endpoint.received == bytes)
            #expect(loop.statistics.starved > 1)
        }
    }

    /// A connection that waits for memory closes all the same, though the memory never comes.
    @Test(arguments: Variant.all)
    func aStarvedConnectionCloses(variant: Variant) throws {
        try withSmallLoop(variant) { loop in
            let (first, firstPeer) = try loop.connection()
            let (second, secondPeer) = try loop.connection()
            loop.keepsChunks = true
            firstPeer.write(pattern(100_000))
            #expect(loop.reaches { first.slot.pointee.starved })
            secondPeer.write(pattern(100))
            #expect(loop.reaches { second.slot.pointee.starved })
            loop.close(second)
            #expect(loop.reaches { second.isClosed }, "the close waited for somebody else's memory")
            loop.close(first)
            #expect(loop.reaches { first.isClosed })
            #expect(!loop.held.isEmpty)
        }
    }

    /// Stopped while waiting for memory: nothing more is delivered. Started again: nothing was lost.
    @Test(arguments: Variant.all)
    func aStarvedConnectionCanBeStopped(variant: Variant) throws {
        try withSmallLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection()
            loop.keepsChunks = true
            peer.write(pattern(100_000))
            #expect(loop.reaches { endpoint.slot.pointee.starved })
            ct_receive_stop(loop.loop, endpoint.slot)
            loop.keepsChunks = false
            loop.releaseHeld()
            let before = endpoint.received.count
            loop.settle()
            #expect(endpoint.received.count == before)
            #expect(!endpoint.slot.pointee.starved)
            #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            #expect(loop.reaches { endpoint.received.count == 100_000 })
            #expect(endpoint.received == pattern(100_000))
        }
    }

    /// Many that waited and no longer want anything do not use up the memory's turn: whoever stands behind them is fed
    /// without waiting for something else to happen.
    @Test(arguments: Variant.all)
    func stoppedConnectionsHoldUpNobody(variant: Variant) throws {
        try withSmallLoop(variant) { loop in
            let (hog, hogPeer) = try loop.connection()
            loop.keepsChunks = true
            hogPeer.write(pattern(100_000))
            #expect(loop.reaches { hog.slot.pointee.starved })
            let waiting = try (0..<150).map { _ in
                let (endpoint, peer) = try loop.connection()
                peer.write(pattern(100))
                return endpoint
            }
            #expect(loop.reaches { waiting.allSatisfy { $0.slot.pointee.starved } })
            ct_receive_stop(loop.loop, hog.slot)
            for endpoint in waiting.dropLast(3) { ct_receive_stop(loop.loop, endpoint.slot) }
            loop.keepsChunks = false
            loop.releaseHeld()
            #expect(loop.wakes { waiting.suffix(3).allSatisfy { $0.received == pattern(100) } })
            #expect(waiting.dropLast(3).allSatisfy { $0.received.isEmpty && !$0.slot.pointee.starved })
        }
    }

    /// Slices outlive their loop: the pool goes with the last of them, on whatever thread that is.
    @Test(arguments: Variant.all)
    func slicesOutliveTheirLoop(variant: Variant) throws {
        var kept: [UnsafeMutablePointer<ct_chunk>] = []
        try withSmallLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection()
            loop.keepsChunks = true
            peer.write(pattern(10_000))
            #expect(loop.reaches { endpoint.received.count == 10_000 })
            kept = loop.held
            loop.held = []
        }
        let handle = Handle(kept)
        let first = TestThread { () -> [UInt8] in
            let chunk = handle.pointer[0].pointee
            let bytes = [UInt8](UnsafeBufferPointer(start: chunk.base, count: 100))
            for chunk in handle.pointer { ct_chunk_release(chunk) }
            return bytes
        }.join()
        #expect(first == Array(pattern(100)))
    }

    /// Readers are told to copy instead of keep once half the budget is out, and no longer when it has come back.
    @Test(arguments: Variant.all)
    func memoryIsScarceAboveHalfTheBudget(variant: Variant) throws {
        try withSmallLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection()
            loop.keepsChunks = true
            peer.write(pattern(100))
            #expect(loop.reaches { endpoint.received.count == 100 })
            let chunk = loop.held[0]
            ct_chunk_retain(chunk)
            #expect(ct_chunk_is_worth_sharing(chunk, 1))
            peer.write(pattern(100_000))
            #expect(loop.reaches { loop.statistics.chunk_bytes > UInt64(Self.budget / 2) })
            #expect(!ct_chunk_is_worth_sharing(chunk, 1))
            let shared = Handle(chunk)
            let elsewhere = TestThread { !ct_chunk_is_worth_sharing(shared.pointer, 1) }.join()
            #expect(elsewhere)
            loop.close(endpoint)
            // On another thread the memory goes back to the allocator at once instead of to the loop's spare chunks.
            let held = Handle(loop.held)
            loop.held = []
            TestThread { for chunk in held.pointer { ct_chunk_release(chunk) } }.join()
            #expect(ct_chunk_is_worth_sharing(chunk, 1))
            ct_chunk_release(chunk)
        }
    }

    /// Slices below the loop's threshold are told to be copied.
    @Test(arguments: Variant.all)
    func smallSlicesAreNotWorthSharing(variant: Variant) throws {
        var options = ct_loop_options()
        options.share_threshold = 4096
        try withLoop(variant, options: options) { loop in
            let (endpoint, peer) = try loop.connection()
            loop.keepsChunks = true
            peer.write(pattern(100))
            #expect(loop.reaches { endpoint.received.count == 100 })
            #expect(!ct_chunk_is_worth_sharing(loop.held[0], 4095))
            #expect(ct_chunk_is_worth_sharing(loop.held[0], 4096))
            loop.releaseHeld()
        }
    }

    /// Idle connections own no receive memory: a thousand of them cost the loop not one chunk more than none.
    @Test(arguments: Engine.available)
    func idleConnectionsOwnNoMemory(engine: Engine) throws {
        try withLoop(engine) { loop in
            loop.settle()
            let before = loop.statistics.chunk_bytes
            let pairs = try (0..<1000).map { _ in try loop.connection() }
            loop.settle()
            #expect(loop.statistics.chunk_bytes == before)
            #expect(pairs.allSatisfy { $0.0.slot.pointee.receive_armed })
        }
    }
}
