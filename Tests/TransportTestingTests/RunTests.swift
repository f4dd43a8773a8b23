import SwiftTransport
import Testing
import TransportTesting

/// A run: its time, its seed and its end.
@Suite struct RunTests {
    private struct OwnError: Error {}

    @Test func whatTheBodyReturnsIsReturned() async throws {
        #expect(try await SimulatedNetwork.run(seed: 3) { $0.seed } == 3)
    }

    @Test func anErrorOfTheBodyIsThrown() async throws {
        await #expect(throws: OwnError.self) {
            try await SimulatedNetwork.run(seed: 1) { network in
                _ = try await EchoService(network)
                throw OwnError()
            }
        }
    }

    @Test func aBodyThatWaitsForNothingIsStuck() async throws {
        var options = SimulationOptions()
        options.patience = .milliseconds(20)
        do {
            try await SimulatedNetwork.run(seed: 7, options: options) { network in
                let service = try await EchoService(network)
                let (_, connection) = try await service.client()
                _ = try await connection.read()
            }
            Issue.record("it came to an end")
        } catch SimulationError.stuck(let seed, let trace) {
            #expect(seed == 7)
            #expect(trace.contains("connect"))
        }
    }

    /// There is always something that happens, a heartbeat, and still the body waits for ever.
    @Test func aBodyThatNeverEndsIsStopped() async throws {
        var options = SimulationOptions()
        options.stepLimit = 20_000
        do {
            try await SimulatedNetwork.run(seed: 7, options: options) { network in
                let service = try await EchoService(network)
                let (_, connection) = try await service.client()
                while true {
                    try await connection.echo("beat")
                    await network.advance(by: .seconds(10))
                }
            }
            Issue.record("it came to an end")
        } catch SimulationError.tooLong(let seed, _) {
            #expect(seed == 7)
        }
    }

    /// A handler that answers the end of each empty write with another one gives its loop turns, and nobody anything.
    @Test(arguments: Engine.allCases) func aLoopThatSpinsIsStopped(engine: Engine) async throws {
        final class Spinner: ChannelHandler {
            static let interests: ChannelEvents = .inbound
            func channelActive(_ context: ChannelContext) { writeNothing(context) }
            func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) {
                if result == nil { writeNothing(context) }
            }
            private func writeNothing(_ context: ChannelContext) {
                context.write(Buffer(), tag: 1)
                context.flush()
            }
        }
        do {
            try await simulated(engine) { network in
                let service = try await EchoService(network)
                let host = network.addHost("busy")
                _ = try await ClientBootstrap(group: host.makeGroup()).handlers { [Spinner()] }
                    .connect(host: "server", port: EchoService.port)
                withExtendedLifetime(service) {}
                await network.advance(by: .seconds(60))
            }
            Issue.record("it went on")
        } catch SimulationError.spinning(_, let loop, _) {
            #expect(loop == "loop 0 of host busy")
        }
    }

    @Test func groupsThatAreLeftAreEnded() async throws {
        let loop = try await SimulatedNetwork.run(seed: 1) { network in
            let service = try await EchoService(network)
            let (host, _) = try await service.client()
            _ = try host.makeGroup(loops: 2)
            host.freeze()
            service.host.crash()
            return service.group.loops[0]
        }
        #expect(loop.execute {} == false)
    }

    @Test(arguments: Engine.allCases) func oneSeedIsOneRun(engine: Engine) async throws {
        let run: @Sendable (SimulatedNetwork) async throws -> UInt64 = { network in
            network.faults.shortReceives = 0.2
            network.faults.wakesForNothing = 0.2
            network.faults.lostPackets = 0.02
            let service = try await EchoService(network, loops: 2)
            let clients = (0..<4).map { number in
                Task {
                    let (_, connection) = try await service.client("client \(number)")
                    for _ in 0..<10 {
                        try await connection.echo(String(repeating: "x", count: network.random(below: 5_000) + 1))
                        try await Task.sleep(for: .milliseconds(network.random(below: 100)), clock: network.clock)
                    }
                }
            }
            for client in clients { try await client.value }
            network.note(17)
            return network.traceHash
        }
        for seed in 1...5 as ClosedRange<UInt64> {
            let first = try await simulated(engine, seed: seed, run)
            let again = try await simulated(engine, seed: seed, run)
            let other = try await simulated(engine, seed: seed + 100, run)
            #expect(first == again)
            #expect(first != other)
        }
    }

    private final class Quiet: ChannelHandler {
        static let interests: ChannelEvents = [.read]
    }

    /// Debug builds look at each type of handler once in a process: that is no part of the run.
    @Test func theFirstRunOfAHandlerIsLikeTheOthers() async throws {
        let run: @Sendable (SimulatedNetwork) async throws -> UInt64 = { network in
            _ = try await EchoService(network)
            let group = try network.addHost("client").makeGroup()
            let channel = try await ClientBootstrap(group: group).handlers { [Quiet()] }.connect(
                host: "server", port: EchoService.port)
            channel.close()
            await channel.closed()
            return network.traceHash
        }
        let first = try await SimulatedNetwork.run(seed: 5, run)
        #expect(try await SimulatedNetwork.run(seed: 5, run) == first)
    }

    /// Pieces beside each other in memory go to the kernel as one, and allocators put them anywhere.
    @Test(arguments: Engine.allCases) func whereBytesLieInMemoryIsNoPartOfTheRun(engine: Engine) async throws {
        let whole = Buffer([UInt8](repeating: 7, count: 30_000))
        let adjacent = [whole[0..<10_000], whole[10_000..<20_000], whole[20_000..<30_000]]
        var hashes: Set<UInt64> = []
        for pieces in [adjacent, adjacent.map({ Buffer([UInt8]($0)) })] {
            let hash = try await simulated(engine) { network in
                let service = try await EchoService(network)
                let (_, connection) = try await service.client()
                for piece in pieces { connection.channel.write(piece) }
                connection.channel.flush()
                var rest = 30_000
                while rest > 0, let bytes = try await connection.read() { rest -= bytes.count }
                return network.traceHash
            }
            hashes.insert(hash)
        }
        #expect(hashes.count == 1)
    }

    @Test func manyRunBesideEachOther() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for seed in 1...8 as ClosedRange<UInt64> {
                group.addTask {
                    try await SimulatedNetwork.run(seed: seed) { network in
                        let service = try await EchoService(network)
                        let (_, connection) = try await service.client()
                        for _ in 0..<20 { try await connection.echo("hello") }
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}
