import SwiftTransport
import Synchronization
import Testing

extension Scenarios {
    /// What is posted to a loop, and when it runs (P6).
    struct WorkTests {
        /// More than a turn's worth, from several threads: each thread's work keeps its order.
        @Test(arguments: Engine.allCases) func eachThreadsWorkKeepsItsOrder(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let loop = group.loops[0]
                let perThread = 5000
                let order = Order()
                for thread in 0..<4 {
                    startThread { for number in 0..<perThread { loop.execute { order.note(thread, number) } } }
                }
                try await order.count.wait(for: "all of it") { $0 == 4 * perThread }
                let seen = await loop.run { order.seen }
                #expect(seen == Array(repeating: Array(0..<perThread), count: 4))
            }
        }

        /// From the loop itself: soon, but not inside the call.
        @Test(arguments: Engine.allCases) func workFromTheLoopRunsAfterwards(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let loop = group.loops[0]
                let log = Watched<[String]>([])
                loop.execute {
                    loop.execute {
                        log.update { $0.append("first inner") }
                        loop.execute { log.update { $0.append("innermost") } }
                    }
                    loop.execute { log.update { $0.append("second inner") } }
                    log.update { $0.append("outer") }
                }
                try await log.wait(for: "all of it") { $0.count == 4 }
                #expect(log.value == ["outer", "first inner", "second inner", "innermost"])
                #expect(await loop.run { loop.isCurrent } == true)
                #expect(!loop.isCurrent)
                #expect(EventLoop.current == nil)
            }
        }

        /// Work that posts more work for ever does not keep connections waiting for ever.
        @Test(arguments: Place.all) func endlessWorkLeavesRoomForConnections(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let loop = group.loops[0]
                let server = try await group.serve(place) { [EchoHandler()] }
                let stop = Flag()
                // A thousand chains: more than a turn takes.
                @Sendable func again() {
                    if !stop.isSet.load(ordering: .relaxed) { loop.execute { again() } }
                }
                for _ in 0..<1000 { again() }
                let correct = try await blocking {
                    try RawSocket.exchange([1, 2, 3], count: 50, with: [RawSocket.connect(to: server.address)])
                }
                stop.isSet.store(true, ordering: .relaxed)
                #expect(correct)
            }
        }

        /// Nor do connections whose events take long keep a lot of work waiting: it gets as much of a turn as they do.
        @Test(arguments: Place.all) func heavyEventsLeaveRoomForWork(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let loop = group.loops[0]
                let heavy = Watched(0)
                let server = try await group.serve(place) { [HeavyHandler(heavy)] }
                let stop = Flag()
                let socket = try RawSocket.connect(to: server.address)
                startThread {
                    while !stop.isSet.load(ordering: .relaxed),
                        (try? socket.write([UInt8](repeating: 1, count: 65536))) != nil
                    {}
                    socket.close()
                }
                try await heavy.wait(for: "heavy events") { $0 > 5 }
                let turns = Watched<[UInt64]>([])
                try await withLoopHeld(loop) {
                    for number in 1...20_000 {
                        loop.execute {
                            if number == 1 || number == 20_000 {
                                turns.update { $0.append(loop.currentStatistics.turns) }
                            }
                        }
                    }
                }
                let seen = try await turns.wait(for: "the last piece of work") { $0.count == 2 }
                stop.isSet.store(true, ordering: .relaxed)
                #expect(seen[1] - seen[0] < 40, "256 pieces a turn would be 78 turns")
            }
        }

        @Test(arguments: Engine.allCases) func aTimerRunsOnceUnlessItIsCancelled(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let loop = group.loops[0]
                let before = try #require(await loop.statistics()).armedTimers
                let fired = Watched<[Int: Int]>([:])
                var random = SeededGenerator(seed: 12)
                var timers: [ScheduledTask] = []
                for number in 0..<2000 {
                    let delay = Duration.microseconds(Int.random(in: 0...60_000, using: &random))
                    timers.append(loop.schedule(after: delay) { fired.update { $0[number, default: 0] += 1 } })
                }
                // Every third is taken back: from here, or from the loop.
                var cancelled: Set<Int> = []
                for number in stride(from: 0, to: 2000, by: 3) {
                    let timer = timers[number]
                    let taken = number % 2 == 0 ? timer.cancel() : await loop.run { timer.cancel() } ?? false
                    if taken { cancelled.insert(number) }
                    #expect(!timer.cancel())
                }
                #expect(!cancelled.isEmpty)
                let expected = Set(0..<2000).subtracting(cancelled)
                try await fired.wait(for: "the others") { $0.count == expected.count }
                try await eventually("the wheel to be empty") { await loop.statistics()?.armedTimers == before }
                #expect(Set(fired.value.keys) == expected)
                #expect(fired.value.values.allSatisfy { $0 == 1 })
                #expect(!timers[1].cancel())
            }
        }

        /// The order of the deadlines, not of the calls; cancelled from within one that fires first.
        @Test(arguments: Engine.allCases) func timersFireInTheOrderOfTheirDeadlines(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let loop = group.loops[0]
                let log = Watched<[Int]>([])
                try await withLoopHeld(loop) {
                    let last = Watched<ScheduledTask?>(nil)
                    for number in [40, 10, 30, 20] {
                        let timer = loop.schedule(after: .milliseconds(number)) {
                            log.update { $0.append(number) }
                            if number == 20 { last.value?.cancel() }
                        }
                        if number == 40 { last.update { $0 = timer } }
                    }
                    loop.schedule(after: .milliseconds(60)) { log.update { $0.append(60) } }
                }
                let seen = try await log.wait(for: "the last") { $0.last == 60 }
                #expect(seen == [10, 20, 30, 60])
            }
        }

        /// A timer that does not fire says so, to whoever asked: when its loop ends first, and when it has ended already.
        @Test(arguments: Engine.allCases) func aTimerOfALoopThatEndsSaysSo(_ engine: Engine) async throws {
            let told = Watched<[String]>([])
            let loop = try await withGroup(engine) { group in
                let loop = group.loops[0]
                let tasks = ["waits", "is cancelled"].map { name in
                    loop.schedule(after: .seconds(3600)) {
                        Issue.record("an hour is over")
                    } otherwise: { error in
                        told.update { $0.append("\(name): \(error.code), on its loop: \(loop.isCurrent)") }
                    }
                }
                loop.schedule(after: .zero) {
                    told.update { $0.append("runs") }
                } otherwise: { _ in
                    Issue.record("it has run")
                }
                try await told.wait(for: "the one that runs") { $0 == ["runs"] }
                #expect(tasks[1].cancel())
                await group.shutdown()
                #expect(!tasks[0].cancel())
                return loop
            }
            #expect(told.value == ["runs", "waits: loopShutDown, on its loop: true"])
            let late = loop.schedule(after: .zero) {
                Issue.record("runs on a loop that is gone")
            } otherwise: { error in
                told.update { $0.append("late: \(error.code)") }
            }
            #expect(told.value.last == "late: loopShutDown")
            #expect(!late.cancel())
        }

        /// What a cancelled timer holds is let go of at once, not when it would have fired.
        @Test(arguments: Engine.allCases) func aCancelledTimerLetsGo(_ engine: Engine) async throws {
            final class Held: Sendable {}
            try await withGroup(engine) { group in
                let loop = group.loops[0]
                weak var held: Held?
                let timer: ScheduledTask
                do {
                    let object = Held()
                    held = object
                    timer = loop.schedule(after: .seconds(3600)) { withExtendedLifetime(object) {} }
                }
                await group.settle()
                #expect(held != nil)
                #expect(timer.cancel())
                try await eventually("the object to be gone") {
                    await group.settle()
                    return held == nil
                }
                #expect(!timer.cancel())
            }
        }
    }
}

private final class Flag: Sendable {
    let isSet = Atomic<Bool>(false)
}

/// Written on the loop alone.
private final class Order: @unchecked Sendable {
    private(set) var seen: [[Int]] = Array(repeating: [], count: 4)
    let count = Watched(0)

    func note(_ thread: Int, _ number: Int) {
        seen[thread].append(number)
        count.update { $0 += 1 }
    }
}

/// Takes five milliseconds for every piece that comes in.
private final class HeavyHandler: ChannelHandler {
    static let interests: ChannelEvents = [.read]
    private let count: Watched<Int>

    init(_ count: Watched<Int>) {
        self.count = count
    }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        let end = ContinuousClock.now + .milliseconds(5)
        while ContinuousClock.now < end {}
        count.update { $0 += 1 }
    }
}
