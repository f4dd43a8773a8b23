import Glibc
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// Names are looked up by few threads, whatever number is asked for and however long it takes.
    struct ResolverPoolTests {
        /// A thread for each look-up, until there are as many as there may be.
        @Test func threadsAreFewAndMadeOnDemand() async throws {
            let names = SlowNames()
            let pool = names.pool(threads: 3)
            let told = Watched(0)
            #expect(pool.load == .init(threads: 0, idle: 0, waiting: 0))
            for number in 1...50 {
                _ = pool.lookUp(host: "\(number)", port: 1) { _ in told.update { $0 += 1 } }
                #expect(pool.load.threads == min(number, 3))
            }
            try await names.asked.wait(for: "the threads to ask") { $0.count == 3 }
            #expect(pool.load == .init(threads: 3, idle: 0, waiting: 47))
            names.open()
            try await told.wait(for: "everybody to be told") { $0 == 50 }
            // Who came first was served first: whoever asks later than somebody behind him was in the hands of another thread.
            let order = names.asked.value.compactMap { Int($0) }
            #expect(order.count == 50)
            #expect(order.indices.allSatisfy { index in order[index...].count { $0 < order[index] } < 3 }, "\(order)")
        }

        /// An idle thread takes what comes; when nothing comes, it ends, and the next request starts another.
        @Test func idleThreadsServeAndEnd() async throws {
            let names = SlowNames()
            names.open()
            let told = Watched(0)
            let patient = names.pool(threads: 3)
            for number in 1...20 {
                _ = patient.lookUp(host: "\(number)", port: 1) { _ in told.update { $0 += 1 } }
                try await told.wait(for: "the answer") { $0 == number }
                try await eventually("the thread to be idle") { patient.load.threads == 1 && patient.isIdle }
            }
            let hasty = names.pool(threads: 3, idle: .milliseconds(1))
            for number in 21...23 {
                _ = hasty.lookUp(host: "\(number)", port: 1) { _ in told.update { $0 += 1 } }
                try await told.wait(for: "the answer") { $0 == number }
                try await eventually("the thread to end") { hasty.load.threads == 0 }
            }
        }

        /// What nobody waits for any more is not looked up, and holds nothing.
        @Test func whoLeavesTheLineIsNotLookedUp() async throws {
            final class Held: Sendable {}
            let names = SlowNames()
            let pool = names.pool(threads: 1)
            let told = Watched<[String]>([])
            var requests: [ResolverPool.Request] = []
            weak var held: Held?
            do {
                let object = Held()
                held = object
                for name in ["first", "a", "b", "c", "d", "last"] {
                    requests.append(
                        pool.lookUp(host: name, port: 1) { _ in
                            withExtendedLifetime(object) { told.update { $0.append(name) } }
                        })
                }
            }
            try await names.asked.wait(for: "the first to be asked for") { $0 == ["first"] }
            // From the middle, its neighbours, and the one that is being looked up: that answer is nobody's.
            for index in [2, 1, 3, 0] { #expect(pool.cancel(requests[index])) }
            #expect(!pool.cancel(requests[2]))
            #expect(pool.load == .init(threads: 1, idle: 0, waiting: 2))
            #expect(held != nil)
            names.open()
            try await told.wait(for: "the others") { $0 == ["d", "last"] }
            #expect(names.asked.value == ["first", "d", "last"])
            try await eventually("all to be let go of") { held == nil }
            #expect(!pool.cancel(requests[5]))
        }

        /// Far more connects than threads: each ends at its own time limit, whatever the name service does.
        @Test(arguments: Engine.allCases) func connectsEndAtTheirLimitWhateverTheNameServiceDoes(_ engine: Engine)
            async throws
        {
            let names = SlowNames()
            defer { names.open() }
            let pool = names.pool(threads: 2)
            try await withGroup(engine) { group in
                let codes = await withTaskGroup(of: TransportError?.self) { tasks in
                    for _ in 0..<200 {
                        tasks.addTask {
                            let outcome = await group.attempt(
                                .name("slow.example", 80), within: .milliseconds(20), resolver: pool)
                            if case .failure(let error) = outcome { return error } else { return nil }
                        }
                    }
                    return await tasks.reduce(into: []) { $0.append($1) }
                }
                let expected = TransportError(
                    .timedOut, call: .getaddrinfo, errno: ETIMEDOUT, subject: "slow.example:80")
                #expect(codes.count == 200 && codes.allSatisfy { $0 == expected })
                #expect(pool.load == .init(threads: 2, idle: 0, waiting: 0))
                #expect(names.asked.value.count == 2)
                #expect(await group.loops[0].statistics()?.armedTimers == LoopEnd.timers)
            }
        }

        /// A shutdown does not wait for a name service, and nobody waits for ever for a loop that is gone.
        @Test(arguments: Engine.allCases) func aShutdownEndsAConnectThatWaitsForItsName(_ engine: Engine) async throws {
            let names = SlowNames()
            let pool = names.pool(threads: 1)
            try await withGroup(engine) { group in
                let outcomes = Watched<[TransportError?]>([])
                for _ in 0..<2 {
                    Task {
                        let outcome = await group.attempt(.name("slow.example", 80), resolver: pool)
                        outcomes.update { if case .failure(let error) = outcome { $0.append(error) } }
                    }
                }
                try await eventually("one to be asked for and one in line") {
                    names.asked.value.count == 1 && pool.load.waiting == 1
                }
                await group.shutdown()
                let expected = TransportError(.loopShutDown, call: .connect, subject: "slow.example:80")
                try await outcomes.wait(for: "both") { $0 == [expected, expected] }
                #expect(pool.load.waiting == 0)
            }
            names.open()
        }

        /// Answers, cancelled tasks and the end of the loop meet, in every order: each connect returns, and once.
        @Test(arguments: Engine.allCases) func answersAndCancelsMeetTheEndOfTheLoop(_ engine: Engine) async throws {
            let pool = ResolverPool(threads: 4, idle: .seconds(600)) { _, _ in
                _ = usleep(.random(in: 0..<400))
                return .failure(TransportError(.invalidAddress, call: .getaddrinfo, errno: EAI_NONAME))
            }
            for _ in 0..<25 {
                try await withGroup(engine) { group in
                    let loop = group.loops[0]
                    let tasks = (0..<40).map { _ in
                        Task { await group.attempt(.name("none.example", 80), resolver: pool) }
                    }
                    let shutdown = Task { await group.shutdown(within: .zero) }
                    // Work that is still in the mailbox when its door shuts.
                    for index in 0..<40 {
                        loop.execute { _ = usleep(20) }
                        tasks[index].cancel()
                    }
                    for task in tasks {
                        guard case .failure(let error) = await task.value else {
                            Issue.record("connected to nowhere")
                            continue
                        }
                        #expect([.invalidAddress, .cancelled, .loopShutDown].contains(error.code))
                    }
                    _ = await shutdown.value
                }
            }
        }

        /// Waiting for a name alone, as a server does before it binds.
        @Test(arguments: [false, true]) func aCancelledLookUpDoesNotWait(_ before: Bool) async throws {
            let names = SlowNames()
            defer { names.open() }
            let pool = names.pool(threads: 1)
            let task = Task {
                if before { withUnsafeCurrentTask { $0?.cancel() } }
                return await expectError(.cancelled, .getaddrinfo, 0, about: "slow.example:80") {
                    try await Resolver.resolve(host: "slow.example", port: 80, by: pool)
                }
            }
            if !before {
                try await names.asked.wait(for: "the name to be asked for") { $0.count == 1 }
                task.cancel()
            }
            _ = await task.value
            #expect(pool.load.waiting == 0)
        }
    }
}

extension ResolverPool {
    fileprivate var isIdle: Bool { load.waiting == 0 && load.idle == load.threads }
}
