import Testing

@testable import SwiftTransport

extension Scenarios {
    /// A loop's time is a clock's: tasks sleep on it without leaving the loop, and nothing of a sleep is left behind.
    struct ClockTests {
        private static let kinds: [(engine: Engine, onLoop: Bool)] = Engine.allCases.flatMap {
            [($0, false), ($0, true)]
        }

        /// Never early, and on the same thread behind it.
        @Test(arguments: kinds) func sleepingEndsInTime(_ kind: (engine: Engine, onLoop: Bool)) async throws {
            try await withGroup(kind.engine, loops: 2) { group in
                let loop = group.loops[1]
                let clock = loop.clock
                let (early, strays) = try await Task(executorPreference: kind.onLoop ? loop.taskExecutor : nil) {
                    var early = 0
                    var strays = 0
                    for delay: Duration in [.milliseconds(3), .microseconds(1), .zero, .seconds(-5)] {
                        let start = clock.now
                        try await Task.sleep(for: delay, clock: clock)
                        if start.duration(to: clock.now) < delay { early += 1 }
                        let deadline = loop.now + delay
                        try await Task.sleep(until: deadline, clock: clock)
                        if loop.now < deadline { early += 1 }
                        if kind.onLoop, EventLoop.current !== loop { strays += 1 }
                    }
                    return (early, strays)
                }.value
                #expect(early == 0)
                #expect(strays == 0)
                #expect(await loop.statistics()?.armedTimers == LoopEnd.timers)
            }
        }

        enum When: CaseIterable, Sendable { case before, whileSleeping }

        /// At once, with the timer.
        @Test(arguments: kinds, When.allCases)
        func aCancelledSleepEnds(_ kind: (engine: Engine, onLoop: Bool), _ when: When) async throws {
            try await withGroup(kind.engine) { group in
                let loop = group.loops[0]
                let armed = { await loop.statistics()?.armedTimers }
                let task = Task(executorPreference: kind.onLoop ? loop.taskExecutor : nil) {
                    if when == .before { withUnsafeCurrentTask { $0?.cancel() } }
                    try await Task.sleep(for: .seconds(3600), clock: loop.clock)
                }
                if when == .whileSleeping {
                    try await eventually("the task to sleep") { await armed() == LoopEnd.timers + 1 }
                    task.cancel()
                }
                await #expect(throws: CancellationError.self) { try await task.value }
                try await eventually("the timer to be gone") { await armed() == LoopEnd.timers }
            }
        }

        /// Cancelled from another thread at every moment: each sleep ends once, whoever comes first.
        @Test(arguments: kinds) func sleepAndCancellationMayMeet(_ kind: (engine: Engine, onLoop: Bool)) async throws {
            try await withGroup(kind.engine) { group in
                let loop = group.loops[0]
                for round in 0..<200 {
                    let delay: Duration = round.isMultiple(of: 2) ? .seconds(3600) : .zero
                    let task = Task(executorPreference: kind.onLoop ? loop.taskExecutor : nil) {
                        try await Task.sleep(for: delay, clock: loop.clock)
                    }
                    for _ in 0..<(round % 7) { await Task.yield() }
                    task.cancel()
                    switch await task.result {
                    case .success: #expect(delay == .zero)
                    case .failure(let error): #expect(error is CancellationError)
                    }
                }
                try await eventually("the timers to be gone") {
                    await loop.statistics()?.armedTimers == LoopEnd.timers
                }
            }
        }

        /// While it is slept on, and afterwards.
        @Test(arguments: kinds) func aLoopThatEndsWakesWhoSleeps(_ kind: (engine: Engine, onLoop: Bool)) async throws {
            try await withGroup(kind.engine) { group in
                let loop = group.loops[0]
                let task = Task(executorPreference: kind.onLoop ? loop.taskExecutor : nil) {
                    try await Task.sleep(for: .seconds(3600), clock: loop.clock)
                }
                try await eventually("the task to sleep") {
                    await loop.statistics()?.armedTimers == LoopEnd.timers + 1
                }
                await group.shutdown()
                await expectError(.loopShutDown, .none) { try await task.value }
                await expectError(.loopShutDown, .none) { try await Task.sleep(for: .zero, clock: loop.clock) }
            }
        }

        /// In the order of the moments, whatever the order of the calls, by the loop and by a handler.
        @Test(arguments: Engine.allCases) func whatIsScheduledComesAtItsMoment(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let loop = group.loops[0]
                let log = Watched<[String]>([])
                let start = loop.clock.now
                let note: @Sendable (String, EventLoop.Instant) -> Void = { text, moment in
                    #expect(loop.isCurrent && loop.now >= moment && loop.clock.now >= loop.now)
                    log.update { $0.append(text) }
                }
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .tcp)) {
                    [
                        RecordingHandler {
                            $0.onActive = { context in
                                let moment = start + .milliseconds(20)
                                context.schedule(at: moment) { _ in note("handler", moment) }
                            }
                        }
                    ]
                }
                // All in one turn: the one in the past must not wait for a time that comes before it gets to the loop.
                try await group.turn {
                    for (text, delay) in [("late", 150), ("early", 100), ("past", -1)] {
                        let moment = loop.clock.now + .milliseconds(delay)
                        loop.schedule(at: moment) { note(text, moment) }
                    }
                }
                let taken = loop.schedule(at: start + .seconds(3600)) { note("never", start) }
                #expect(taken.cancel())
                let all = try await log.wait(for: "all of them") { $0.count == 4 }
                #expect(all.filter { $0 != "handler" } == ["past", "early", "late"])
                #expect(all.contains("handler"))
                peer.close()
                await channel.closed()
            }
        }

        @Test func momentsAreCountedWithoutOverflow() {
            typealias Instant = EventLoop.Instant
            let first = Instant(nanoseconds: 0)
            let some = Instant(nanoseconds: 1_000_000_000)
            let last = first.advanced(by: Duration(attoseconds: .max))
            #expect(first < some && some < last)
            #expect(some.advanced(by: Duration(attoseconds: .min)) == first)
            #expect(some - Duration(attoseconds: .min) == last)
            #expect(last - Duration(attoseconds: .max) == first)
            var moved = some
            moved += .seconds(2)
            moved -= .seconds(1)
            #expect(moved == some + .seconds(1))
            #expect(last + .seconds(1) == last)
            #expect(last + .seconds(Int64.max) == last)
            #expect(first - .nanoseconds(1) == first)
            #expect(some - .seconds(1) == first)
            #expect(some + .nanoseconds(5) == Instant(nanoseconds: 1_000_000_005))
            #expect(some - first == .seconds(1))
            #expect(first - some == .seconds(-1))
            #expect(last - first == .nanoseconds(Int64.max) + .nanoseconds(Int64.max))
            #expect(MemoryLayout<Instant>.size == 8)
            // A deadline of a timer is never in the past, and never the one that means none.
            #expect(UInt64(7).advanced(by: .seconds(-1)) == 7)
            #expect(UInt64(7).advanced(by: .nanoseconds(3)) == 10)
            #expect(UInt64(7).advanced(by: Duration(attoseconds: .max)) == UInt64.max - 1)
        }
    }
}
