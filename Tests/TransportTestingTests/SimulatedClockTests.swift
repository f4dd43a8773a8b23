import SwiftTransport
import Testing
import TransportTesting

/// Time in a network is the network's.
@Suite struct SimulatedClockTests {
    @Test func sleepsTakeNoRealTime() async throws {
        let took = try await ContinuousClock().measure {
            try await SimulatedNetwork.run(seed: 1) { network in
                let began = network.clock.now
                try await Task.sleep(for: .seconds(3600), clock: network.clock)
                #expect(began.duration(to: network.clock.now) >= .seconds(3600))
                #expect(began.duration(to: network.clock.now) < .seconds(3601))
                await network.advance(by: .seconds(3600))
                #expect(network.elapsed >= .seconds(7200))
                // What is over is over.
                try await Task.sleep(until: began, clock: network.clock)
                try await Task.sleep(for: .seconds(-1), clock: network.clock)
                await network.advance(by: .zero)
            }
        }
        print("two hours: \(took)")
    }

    @Test func sleepersWakeInTheOrderOfTheirTimes() async throws {
        try await SimulatedNetwork.run(seed: 1) { network in
            let order = try await withThrowingTaskGroup(of: Int.self) { group in
                for seconds in [5, 1, 4, 2, 3] {
                    group.addTask {
                        try await Task.sleep(for: .seconds(seconds), clock: network.clock)
                        return seconds
                    }
                }
                var order: [Int] = []
                for try await seconds in group { order.append(seconds) }
                return order
            }
            #expect(order == [1, 2, 3, 4, 5])
        }
    }

    @Test func aCancelledSleepEndsAtOnce() async throws {
        try await SimulatedNetwork.run(seed: 1) { network in
            let sleeping = Task { try await Task.sleep(for: .seconds(1000), clock: network.clock) }
            await network.advance(by: .seconds(10))
            sleeping.cancel()
            await #expect(throws: CancellationError.self) { try await sleeping.value }
            #expect(network.elapsed < .seconds(11))
            let cancelled = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                try await Task.sleep(for: .seconds(1000), clock: network.clock)
            }
            await #expect(throws: CancellationError.self) { try await cancelled.value }
            #expect(network.elapsed < .seconds(11))
        }
    }

    private struct TimeOut: Error {}

    /// As services do it: work and a time limit beside it.
    private static func withTimeout<Result: Sendable>(
        _ limit: Duration, _ clock: some Clock<Duration>, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Result.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: limit, clock: clock)
                throw TimeOut()
            }
            defer { group.cancelAll() }
            return try await group.next()!
        }
    }

    @Test(arguments: Engine.allCases) func timeLimitsOfServicesWork(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network)
            let (host, connection) = try await service.client()
            try await Self.withTimeout(.seconds(5), network.clock) { try await connection.echo("in time") }
            network.partition(host, from: service.host)
            await #expect(throws: TimeOut.self) {
                try await Self.withTimeout(.seconds(5), connection.channel.eventLoop.clock) {
                    try await connection.echo("too late")
                }
            }
            #expect(network.elapsed >= .seconds(5))
            #expect(network.elapsed < .seconds(6))
        }
    }

    @Test(arguments: Engine.allCases) func loopsHaveTheTimeOfTheNetwork(engine: Engine) async throws {
        try await simulated(engine) { network in
            let group = try network.addHost("host").makeGroup(loops: 2)
            let clock = group.loops[1].clock
            let began = clock.now
            try await Task.sleep(for: .seconds(86400), clock: clock)
            let took = began.duration(to: clock.now)
            #expect(took >= .seconds(86400))
            #expect(took < .seconds(86401))
            #expect(network.elapsed >= took)
            // Asked from outside too.
            let outside = await Task.detached { @MainActor in clock.now }.value
            #expect(began.duration(to: outside) >= took)
            #expect(began.duration(to: outside) < .seconds(86402))
        }
    }

    /// Without a clock of the network a sleep takes real time, and the network waits for it.
    @Test func aSleepWithoutTheClockIsReal() async throws {
        let clock = ContinuousClock()
        let took = try await clock.measure {
            let elapsed = try await SimulatedNetwork.run(seed: 1) { network in
                try await Task.sleep(for: .milliseconds(20))
                try await Task.sleep(nanoseconds: 20_000_000)
                return network.elapsed
            }
            #expect(elapsed < .milliseconds(1))
        }
        #expect(took >= .milliseconds(40))
    }

    /// Cancelled from outside of the network, on another thread: whoever waits for the run gives up.
    @Test func aRunMayBeCancelled() async throws {
        let run = Task {
            try await SimulatedNetwork.run(seed: 1) { network in
                try await Task.sleep(for: .seconds(20))
            }
        }
        run.cancel()
        await #expect(throws: CancellationError.self) { try await run.value }
        let sleeping = Task {
            try await SimulatedNetwork.run(seed: 1) { network in
                while true { try await Task.sleep(for: .seconds(1), clock: network.clock) }
            }
        }
        try await Task.sleep(for: .milliseconds(10))
        sleeping.cancel()
        await #expect(throws: CancellationError.self) { try await sleeping.value }
    }

    /// It ends with the run, wherever it goes on.
    @Test func aSleepThatIsLeftIsCancelled() async throws {
        let left = try await SimulatedNetwork.run(seed: 1) { network in
            let left = Task { try await Task.sleep(for: .seconds(1_000_000), clock: network.clock) }
            await network.advance(by: .seconds(1))
            return left
        }
        await #expect(throws: CancellationError.self) { try await left.value }
    }
}
