import CTransport
import Glibc
import Testing

@Suite struct MailboxTests {
    private static func message(_ kind: UInt64, _ word: Int = 0) -> ct_message {
        ct_message(kind: kind, word: UnsafeMutableRawPointer(bitPattern: word))
    }

    private static func takeAll(_ loop: TestLoop) -> [ct_message] {
        var all: [ct_message] = []
        var some = [ct_message](repeating: ct_message(), count: 64)
        while true {
            let count = Int(ct_mailbox_take(loop.loop, &some, 64))
            if count == 0 { return all }
            all += some[..<count]
        }
    }

    /// Messages of one thread keep their order, none is lost or doubled, and a sleeping loop is woken for them
    /// (W3: a write from another thread is a task of the loop).
    @Test(arguments: Engine.available)
    func producersKeepTheirOrder(engine: Engine) throws {
        let producers = 4
        let each = 100_000
        try withLoop(engine) { loop in
            let mailbox = Handle(ct_loop_mailbox(loop.loop))
            let threads = (0..<producers).map { producer in
                TestThread {
                    (1...each).count { ct_mailbox_post(mailbox.pointer, Self.message(UInt64(producer), $0)) != 0 }
                }
            }
            var next = [Int](repeating: 1, count: producers)
            var outOfOrder = 0
            var taken = 0
            var some = [ct_message](repeating: ct_message(), count: 256)
            let allCame = loop.wakes {
                while true {
                    let count = Int(ct_mailbox_take(loop.loop, &some, 256))
                    if count == 0 { return taken == producers * each }
                    for message in some[..<count] {
                        let producer = Int(message.kind)
                        if Int(bitPattern: message.word) != next[producer] { outOfOrder += 1 }
                        next[producer] += 1
                    }
                    taken += count
                }
            }
            #expect(allCame)
            #expect(threads.map { $0.join() } == [0, 0, 0, 0])
            #expect(outOfOrder == 0)
            #expect(next == [Int](repeating: each + 1, count: producers))
            #expect(Self.takeAll(loop).isEmpty)
        }
    }

    /// The eventfd is written only while the loop sleeps. An awake loop finds its messages anyway.
    @Test(arguments: Engine.available)
    func awakeLoopIsNotWoken(engine: Engine) throws {
        try withLoop(engine) { loop in
            loop.settle()
            let wakes = loop.statistics.wakes
            let mailbox = Handle(ct_loop_mailbox(loop.loop))
            let failed = TestThread {
                (0..<1000).count { ct_mailbox_post(mailbox.pointer, Self.message(UInt64($0))) != 0 }
            }.join()
            #expect(failed == 0)
            loop.turn(deadline: .max)
            #expect(Self.takeAll(loop).map(\.kind) == (0..<1000).map(UInt64.init))
            loop.settle()
            #expect(loop.statistics.wakes == wakes)
        }
    }

    /// A sleeping loop is woken by the first message, and by that one only: whoever posts behind it writes nothing.
    @Test(arguments: Engine.available)
    func sleepingLoopIsWokenOnce(engine: Engine) throws {
        try withLoop(engine) { loop in
            let mailbox = Handle(ct_loop_mailbox(loop.loop))
            let sleeper = threadID()
            // The loop may be awake when a round's messages come; then the round says nothing and there is another.
            for _ in 0..<1000 {
                let wakes = loop.statistics.wakes
                let thread = TestThread {
                    waitUntilAsleep(sleeper)
                    return (0..<100).count { ct_mailbox_post(mailbox.pointer, Self.message(UInt64($0))) != 0 }
                }
                var taken: [ct_message] = []
                let allCame = loop.wakes {
                    taken += Self.takeAll(loop)
                    return taken.count == 100
                }
                #expect(allCame)
                #expect(thread.join() == 0)
                #expect(taken.map(\.kind) == (0..<100).map(UInt64.init))
                if loop.statistics.wakes > wakes { return }
            }
            Issue.record("the loop was never woken")
        }
    }

    /// W6 for messages: once the mailbox is closed a post fails at once; what came before can still be taken, in order.
    @Test func closedMailboxRefuses() throws {
        try withLoop(.epoll) { loop in
            let mailbox = Handle(ct_loop_mailbox(loop.loop))
            for i in 1...3 { #expect(ct_mailbox_post(mailbox.pointer, Self.message(UInt64(i))) == 0) }
            ct_mailbox_close(loop.loop)
            #expect(ct_mailbox_post(mailbox.pointer, Self.message(4)) == -ECANCELED)
            #expect(TestThread { ct_mailbox_post(mailbox.pointer, Self.message(5)) }.join() == -ECANCELED)
            ct_mailbox_close(loop.loop)
            #expect(Self.takeAll(loop).map(\.kind) == [1, 2, 3])
        }
    }

    /// netty#16716: a poster may hold the mailbox when its loop is gone; its descriptor must still be its own then.
    @Test func mailboxOutlivesItsLoop() throws {
        let loop = try TestLoop(.epoll)
        let mailbox = ct_loop_mailbox(loop.loop)
        ct_mailbox_retain(mailbox)
        ct_mailbox_close(loop.loop)
        loop.finish()
        #expect(ct_mailbox_post(mailbox, Self.message(1)) == -ECANCELED)
        ct_mailbox_release(mailbox)
    }

    /// A loop that keeps posting to itself does not shut other threads out (W19).
    @Test func ownMessagesLeaveRoomForOthers() throws {
        try withLoop(.epoll) { loop in
            for i in 0..<200 { #expect(ct_mailbox_post_local(loop.loop, Self.message(UInt64(i), 1)) == 0) }
            let mailbox = Handle(ct_loop_mailbox(loop.loop))
            for i in 0..<10 { #expect(ct_mailbox_post(mailbox.pointer, Self.message(UInt64(i), 2)) == 0) }
            var some = [ct_message](repeating: ct_message(), count: 32)
            #expect(ct_mailbox_take(loop.loop, &some, 32) == 32)
            #expect(some.filter { Int(bitPattern: $0.word) == 2 }.map(\.kind) == (0..<10).map(UInt64.init))
            let own = some.filter { Int(bitPattern: $0.word) == 1 } + Self.takeAll(loop)
            #expect(own.map(\.kind) == (0..<200).map(UInt64.init))
        }
    }

    /// Messages the loop posted to itself, or took only some of, keep it from sleeping.
    @Test(arguments: Engine.available)
    func waitingMessagesForbidSleep(engine: Engine) throws {
        try withLoop(engine) { loop in
            var one = ct_message()
            func turnDoesNotSleep() -> Bool {
                let turns = loop.statistics.turns
                return loop.wakes { loop.statistics.turns > turns }
            }
            #expect(ct_mailbox_post_local(loop.loop, Self.message(1)) == 0)
            #expect(turnDoesNotSleep())
            #expect(ct_mailbox_take(loop.loop, &one, 1) == 1)

            for i in 2...4 { #expect(ct_mailbox_post(ct_loop_mailbox(loop.loop), Self.message(UInt64(i))) == 0) }
            for i in 2...4 {
                // The taken batch holds the rest: the sleep must see it there too.
                #expect(turnDoesNotSleep())
                #expect(ct_mailbox_take(loop.loop, &one, 1) == 1)
                #expect(one.kind == UInt64(i))
            }
        }
    }
}

/// Looks, without sleeping, until the thread is in a system call that waits. Gives up after many looks.
private func waitUntilAsleep(_ thread: pid_t) {
    for _ in 0..<1000 {
        guard let file = fopen("/proc/self/task/\(thread)/stat", "r") else { return }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, 256, file) != nil else { return }
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if let end = text.lastIndex(of: ")"), text[end...].dropFirst(2).first == "S" { return }
        sched_yield()
    }
}
