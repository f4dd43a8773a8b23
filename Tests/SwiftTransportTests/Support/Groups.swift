import CTransport
import Glibc
import Synchronization
import Testing

@testable import SwiftTransport

/// Runs `body` with a group on `engine`, shuts the group down whatever happens, and looks at the counters each loop had
/// when it ended: no completion for a slot that had moved on, no overflow, nothing left open, nothing left queued.
@discardableResult
func withGroup<R>(
    _ engine: Engine, loops: Int = 1, options: LoopOptions = LoopOptions(), shutdownWithin time: Duration = .seconds(5),
    sourceLocation: SourceLocation = #_sourceLocation, _ body: (EventLoopGroup) async throws -> R
) async throws -> R {
    try engine.require()
    var options = options
    options.engine = .only(engine)
    let group = try EventLoopGroup(loops: loops, options: options)
    let ends = await group.loops.asyncMap { await LoopEnd.observe($0) }
    let result: Result<R, any Error>
    do { result = .success(try await body(group)) } catch { result = .failure(error) }
    await group.shutdown(within: time)
    for end in ends {
        let last = try #require(end.statistics, "the loop has not ended", sourceLocation: sourceLocation)
        #expect(last.staleCompletions == 0, sourceLocation: sourceLocation)
        #expect(last.completionOverflows == 0, sourceLocation: sourceLocation)
        #expect(last.openEndpoints == 0, sourceLocation: sourceLocation)
        #expect(last.queuedBytes == 0, sourceLocation: sourceLocation)
    }
    return try result.get()
}

/// What a loop's counters said at its very end. A loop cannot be asked any more then, so it is told by what the loop lets go
/// of last: a timer that never fires.
final class LoopEnd: Sendable {
    /// Timers of a loop that are the harness's own.
    static let timers: UInt64 = 1

    private let last = Mutex<LoopStatistics?>(nil)

    var statistics: LoopStatistics? { last.withLock { $0 } }

    static func observe(_ loop: EventLoop) async -> LoopEnd {
        let end = LoopEnd()
        _ = await loop.run {
            let witness = Witness(loop, end)
            try? CallbackTimer { _ = witness }.arm(on: loop, at: UInt64.max - 1)
        }
        return end
    }

    private final class Witness: Sendable {
        private let loop: EventLoop
        private let end: LoopEnd
        init(_ loop: EventLoop, _ end: LoopEnd) {
            self.loop = loop
            self.end = end
        }
        deinit {
            let counts = LoopStatistics(ct_loop_statistics_of(loop.core).pointee, loop.own.outbound)
            end.last.withLock { $0 = counts }
        }
    }
}

extension Array {
    func asyncMap<T>(_ transform: (Element) async throws -> T) async rethrows -> [T] {
        var result: [T] = []
        for element in self { result.append(try await transform(element)) }
        return result
    }
}

/// Keeps the loop's thread busy while `body` runs: what happens meanwhile meets the loop in one turn.
func withLoopHeld(_ loop: EventLoop, _ body: () async throws -> Void) async throws {
    let hold = Hold()
    loop.execute { hold.keep() }
    defer { hold.isOver.store(true, ordering: .releasing) }
    try await eventually("the loop to be held") { hold.isHeld.load(ordering: .acquiring) }
    try await body()
}

private final class Hold: Sendable {
    let isHeld = Atomic<Bool>(false)
    let isOver = Atomic<Bool>(false)

    func keep() {
        isHeld.store(true, ordering: .releasing)
        while !isOver.load(ordering: .acquiring) { sched_yield() }
    }
}

extension EventLoopGroup {
    /// Runs `body` in one turn of the first loop.
    @discardableResult
    func turn<R: Sendable>(
        sourceLocation: SourceLocation = #_sourceLocation, _ body: @escaping @Sendable () -> R
    ) async throws -> R {
        try #require(await loops[0].run(body), "the loop has shut down", sourceLocation: sourceLocation)
    }

    /// Turns all loops once: what was posted to them before is done afterwards.
    func settle() async {
        for loop in loops { _ = await loop.run {} }
    }
}
