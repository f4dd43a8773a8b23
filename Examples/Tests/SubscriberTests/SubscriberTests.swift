import Subscriber
import SwiftTransport
import Synchronization
import Testing
import TransportTesting

/// The subscriber in networks that are not there: each test lets minutes pass, and takes milliseconds.
@Suite struct SubscriberTests {
    private final class Count: Sendable {
        let lines = Mutex(0)
        var value: Int { lines.withLock { $0 } }
        func increment() { lines.withLock { $0 += 1 } }
    }

    /// A feed on a host of its own: a line every two seconds.
    private static func feed(on host: SimulatedHost) async throws {
        _ = try await ServerBootstrap(group: host.makeGroup())
            .serve { connection in
                while true {
                    try await connection.send("tick\n")
                    try await Task.sleep(for: .seconds(2), clock: connection.channel.eventLoop.clock)
                }
            }
            .bind(host: "0.0.0.0", port: 7000)
    }

    private static func subscribe(on host: SimulatedHost, _ network: SimulatedNetwork, _ count: Count) throws {
        let subscriber = Subscriber(
            ClientBootstrap(group: try host.makeGroup()).connectTimeout(.seconds(5)), host: "feed", port: 7000,
            clock: network.clock)
        Task { try await subscriber.run { _ in count.increment() } }
    }

    @Test func aPartitionOfTenMinutesIsSurvived() async throws {
        try await SimulatedNetwork.run(seed: 1) { network in
            let there = network.addHost("feed")
            let here = network.addHost("subscriber")
            let count = Count()
            try await Self.feed(on: there)
            try Self.subscribe(on: here, network, count)
            await network.advance(by: .seconds(61))
            #expect(count.value >= 30)

            network.partition(there, from: here)
            await network.advance(by: .seconds(1))
            let before = count.value
            await network.advance(by: .seconds(600))
            #expect(count.value == before)

            network.heal()
            await network.advance(by: .seconds(60))
            #expect(count.value >= before + 25)
            // What it gave up is gone.
            #expect(here.connections == 1)
        }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func aFeedThatCrashesIsFoundAgain(seed: UInt64) async throws {
        try await SimulatedNetwork.run(seed: seed) { network in
            network.faults.lostPackets = 0.02
            let there = network.addHost("feed")
            let here = network.addHost("subscriber")
            let count = Count()
            try await Self.feed(on: there)
            try Self.subscribe(on: here, network, count)
            await network.advance(by: .milliseconds(10_000 + network.random(below: 10_000)))
            there.crash()
            await network.advance(by: .seconds(60))
            there.restart()
            let before = count.value
            await network.advance(by: .seconds(60))
            #expect(count.value >= before + 20)
        }
    }
}
