import CTransport
import Testing

@Suite struct TimerTests {
    private static let millisecond: UInt64 = 1_000_000

    /// Timers fire in the order of their deadlines, those of one tick in the order they were armed, and never before
    /// their deadline (I4: a reader-idle delay that fires early would close a live connection).
    @Test(arguments: Engine.available)
    func timersFireInOrderAndNeverEarly(engine: Engine) throws {
        try withLoop(engine) { loop in
            let start = loop.now
            let delays: [UInt64] = [9, 3, 70, 3, 1, 0, 25, 64, 63, 65, 9, 130]
            var deadlines: [Int: UInt64] = [:]
            for (i, delay) in delays.enumerated() {
                deadlines[i + 1] = start + delay * Self.millisecond
                let timer = ct_timer_arm(loop.loop, deadlines[i + 1]!, UnsafeMutableRawPointer(bitPattern: i + 1)!)
                #expect(timer != 0)
            }
            #expect(loop.statistics.timers_armed == UInt64(delays.count))
            #expect(loop.reaches { loop.firedTimers.count == delays.count })
            let expected = delays.enumerated().sorted { ($0.element, $0.offset) < ($1.element, $1.offset) }
            #expect(loop.firedTimers.map(\.context) == expected.map { $0.offset + 1 })
            for fired in loop.firedTimers { #expect(fired.now >= deadlines[fired.context]!) }
            #expect(loop.statistics.timers_armed == 0)
        }
    }

    /// The wait ends at a timer although nothing else happens and the caller gave no deadline.
    @Test(arguments: Engine.available)
    func aTimerEndsTheWait(engine: Engine) throws {
        try withLoop(engine) { loop in
            ct_timer_arm(loop.loop, loop.now + 3 * Self.millisecond, UnsafeMutableRawPointer(bitPattern: 7)!)
            #expect(loop.wakes { !loop.firedTimers.isEmpty })
            #expect(loop.firedTimers.first?.context == 7)
        }
    }

    /// P6: a timer that was taken back does not fire, and is taken only once.
    @Test func cancelledTimerStaysSilent() throws {
        try withLoop(.epoll) { loop in
            let deadline = loop.now + Self.millisecond
            let cancelled = ct_timer_arm(loop.loop, deadline, UnsafeMutableRawPointer(bitPattern: 1)!)
            let kept = ct_timer_arm(loop.loop, deadline, UnsafeMutableRawPointer(bitPattern: 2)!)
            #expect(Int(bitPattern: ct_timer_take(loop.loop, cancelled)) == 1)
            #expect(ct_timer_take(loop.loop, cancelled) == nil)
            #expect(loop.reaches { !loop.firedTimers.isEmpty })
            loop.settle()
            #expect(loop.firedTimers.map(\.timer) == [kept])
        }
    }

    /// A timer whose event is already in the caller's hands can still be cancelled by an earlier event of the turn.
    @Test func postedTimerCanBeTaken() throws {
        let loop = try TestLoop(.epoll)
        defer { loop.finish() }
        let timer = ct_timer_arm(loop.loop, loop.now, UnsafeMutableRawPointer(bitPattern: 5)!)
        var events = [ct_event](repeating: ct_event(), count: 64)
        var count: UInt32 = 0
        while count == 0 { count = ct_loop_run_once(loop.loop, .max, &events, 64) }
        #expect(count == 1 && events[0].kind == CT_EVENT_TIMER && events[0].token == timer)
        #expect(loop.statistics.timers_armed == 1)
        #expect(Int(bitPattern: ct_timer_take(loop.loop, timer)) == 5)
        #expect(ct_timer_take(loop.loop, events[0].token) == nil)
        #expect(loop.statistics.timers_armed == 0)
    }

    /// Far deadlines, beyond the wheel's reach too, neither fire nor disturb near ones, and can be taken back.
    @Test func farDeadlinesDisturbNobody() throws {
        try withLoop(.epoll) { loop in
            let hour = 3_600_000 * Self.millisecond
            let start = loop.now
            let deadlines = [start + hour, start + 24 * hour, start + 365 * 24 * hour, start + 87_600 * hour, .max]
            let far = deadlines.enumerated().map {
                ct_timer_arm(loop.loop, $0.element, UnsafeMutableRawPointer(bitPattern: 100 + $0.offset)!)
            }
            for delay in [0, 1, 2, 66, 4] {
                let deadline = start + UInt64(delay) * Self.millisecond
                ct_timer_arm(loop.loop, deadline, UnsafeMutableRawPointer(bitPattern: 1 + delay)!)
            }
            #expect(loop.reaches { loop.firedTimers.count == 5 })
            #expect(loop.firedTimers.map(\.context) == [1, 2, 3, 5, 67])
            #expect(far.map { Int(bitPattern: ct_timer_take(loop.loop, $0)) } == [100, 101, 102, 103, 104])
            #expect(loop.statistics.timers_armed == 0)
        }
    }

    /// A handle of a timer that is over does not reach the timer that now lives in its place; 0 is no timer.
    @Test func aStaleHandleDoesNothing() throws {
        try withLoop(.epoll) { loop in
            let first = ct_timer_arm(loop.loop, .max, UnsafeMutableRawPointer(bitPattern: 1)!)
            ct_timer_take(loop.loop, first)
            let second = ct_timer_arm(loop.loop, .max, UnsafeMutableRawPointer(bitPattern: 2)!)
            #expect(UInt32(truncatingIfNeeded: first) == UInt32(truncatingIfNeeded: second), "the place is used again")
            #expect(first != second)
            #expect(ct_timer_take(loop.loop, first) == nil)
            #expect(ct_timer_take(loop.loop, 0) == nil)
            #expect(ct_timer_take(loop.loop, second | 0xFFFF_FFFF) == nil)
            #expect(Int(bitPattern: ct_timer_take(loop.loop, second)) == 2)
        }
    }

    /// Elsewhere a million scheduled tasks that were long over held their objects. 100,000 timers armed and cancelled, one by
    /// one and a thousand at a time, take no memory beyond the largest number armed at once.
    @Test func cancelledTimersTakeNoMemory() throws {
        try withLoop(.epoll) { loop in
            let timers = UnsafeMutablePointer<ct_timer>.allocate(capacity: 1000)
            defer { timers.deallocate() }
            let context = UnsafeMutableRawPointer(bitPattern: 1)!
            let far = loop.now + 3_600_000 * Self.millisecond
            func armAndCancelThousand() {
                for i in 0..<1000 { timers[i] = ct_timer_arm(loop.loop, far + UInt64(i) * Self.millisecond, context) }
                for i in 0..<1000 { ct_timer_take(loop.loop, timers[i]) }
            }
            armAndCancelThousand()
            let before = ct_memory_thread_allocated()
            for _ in 0..<50 { armAndCancelThousand() }
            for _ in 0..<50_000 { ct_timer_take(loop.loop, ct_timer_arm(loop.loop, far, context)) }
            let after = ct_memory_thread_allocated()
            #expect(after == before)
            #expect(loop.statistics.timers_armed == 0)
        }
    }

    /// A loop that ends takes what is still armed, however much that is: each timer once, those in events that nobody took
    /// too, and what is armed meanwhile. A million took minutes when each was looked for from the first on.
    @Test(.timeLimit(.minutes(1))) func takingAllIsLinear() throws {
        let loop = try TestLoop(.epoll)
        defer { loop.finish() }
        let count = 1_000_000
        let far = loop.now + 3_600_000 * Self.millisecond
        var posted = [ct_event](repeating: ct_event(), count: 64)
        for i in 1...40 { ct_timer_arm(loop.loop, loop.now, UnsafeMutableRawPointer(bitPattern: i)!) }
        var due: UInt32 = 0
        while due < 40 { due += ct_loop_run_once(loop.loop, .max, &posted, 64) }
        for i in 41...count {
            ct_timer_arm(loop.loop, far &+ UInt64(i) &* 7919, UnsafeMutableRawPointer(bitPattern: i)!)
        }
        var taken = [Bool](repeating: false, count: count + 11)
        var total = 0
        var doubles = 0
        while let context = ct_timer_take_any(loop.loop) {
            let i = Int(bitPattern: context)
            if taken[i] { doubles += 1 }
            taken[i] = true
            total += 1
            if total % (count / 10) == 0, total <= count {
                ct_timer_arm(loop.loop, far, UnsafeMutableRawPointer(bitPattern: count + total / (count / 10))!)
            }
        }
        #expect(total == count + 10 && doubles == 0)
        #expect(loop.statistics.timers_armed == 0)
    }

    /// More timers due at once than the event array holds: the rest comes in the next turns, in order, none lost.
    @Test(arguments: Engine.available)
    func theRestOfManyTimersComesInTheNextTurns(engine: Engine) throws {
        try withLoop(engine, capacity: 64) { loop in
            let deadline = loop.now
            for i in 1...1000 { ct_timer_arm(loop.loop, deadline, UnsafeMutableRawPointer(bitPattern: i)!) }
            var most = 0
            #expect(
                loop.reaches {
                    most = max(most, loop.eventsOfTurn)
                    return loop.firedTimers.count == 1000
                })
            #expect(loop.firedTimers.map(\.context) == Array(1...1000))
            #expect(most <= 64)
        }
    }
}
