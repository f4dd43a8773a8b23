import CTransport
import Glibc
import Testing

/// What is left of a loop that has ended: nothing.
@Suite struct LoopEndTests {
    /// Chunks that the kernel was lent are handed back, each once, so that whoever shares them can let go.
    @Test(arguments: Variant.all)
    func lentChunksAreHandedBack(variant: Variant) throws {
        let loop = try TestLoop(
            variant.engine, options: ct_loop_options(classicBuffers: variant.classicBuffers, chunkSize: 8192))
        defer { loop.finish() }
        let (endpoint, peer) = try loop.connection()
        peer.write(pattern(20_000))
        #expect(loop.reaches { endpoint.received.count == 20_000 })
        loop.close(endpoint)
        #expect(loop.reaches { loop.statistics.slots_open == 0 })
        let lent = Int(loop.statistics.chunks_lent)
        #expect(lent > 0)
        var chunks: Set<UnsafeMutablePointer<ct_chunk>> = []
        while let chunk = ct_chunk_take_back(loop.loop) {
            #expect(chunks.insert(chunk).inserted)
            #expect(chunk.pointee.references == 1)
        }
        #expect(chunks.count == lent)
        #expect(loop.statistics.chunks_lent == 0)
        for chunk in chunks { ct_chunk_release(chunk) }
    }

    /// jemalloc's arenas cannot be destroyed while anything of theirs lives: a loop gets one that another has left. 2,000 loops
    /// made 2,000 of them, and the process grew by 215 MB.
    @Test func arenasAreUsedAgain() throws {
        guard let before = arenaCount() else { return }  // malloc
        for i in 0..<200 {
            try withLoop(Engine.available[i % Engine.available.count]) { loop in
                _ = ct_memory_allocate(1).map { ct_memory_free($0, 1) }
            }
        }
        // Loops of other tests run at the same time.
        #expect(try #require(arenaCount()) - before < 100)
    }

    /// The thread has its own arena back when its loop is gone, with two loops on it as well.
    @Test func threadsKeepTheirArena() throws {
        guard let mallctl = Mallctl.function else { return }
        let thread = TestThread { () -> [UInt32] in
            func arena() -> UInt32 { Mallctl.read("thread.arena", with: mallctl) }
            var arenas = [arena()]
            func run() throws {
                let first = try TestLoop(.epoll)
                arenas.append(arena())
                let second = try TestLoop(.epoll)
                arenas.append(arena())
                second.finish()
                arenas.append(arena())
                first.finish()
                arenas.append(arena())
            }
            try? run()
            return arenas
        }
        let arenas = thread.join()
        try #require(arenas.count == 5)
        #expect(arenas[0] != arenas[1] && arenas[1] != arenas[2])
        #expect(arenas[3] == arenas[1] && arenas[4] == arenas[0])
    }

    private func arenaCount() -> Int? {
        Mallctl.function.map { Int(Mallctl.read("arenas.narenas", with: $0)) }
    }
}

/// jemalloc's own interface, where it serves this process.
private enum Mallctl {
    typealias Function =
        @convention(c) (
            UnsafePointer<CChar>, UnsafeMutableRawPointer?, UnsafeMutablePointer<Int>?, UnsafeMutableRawPointer?, Int
        ) -> Int32

    static var function: Function? {
        dlsym(nil, "mallctl").map { unsafeBitCast($0, to: Function.self) }
    }

    static func read(_ name: String, with mallctl: Function) -> UInt32 {
        var value: UInt32 = 0
        var size = MemoryLayout<UInt32>.size
        precondition(mallctl(name, &value, &size, nil, 0) == 0)
        return value
    }
}
