import SwiftTransport
import Testing
import TransportTesting

/// What simulated kernels say, counted.
@Suite struct CellsTests {
    @Test func noCellIsListedTwice() {
        let names = SimulatedCells.all.map { "\($0.operation) \($0.outcome)" }
        #expect(names.count > 200)
        #expect(Set(names).count == names.count)
        #expect(names.contains("socket EMFILE"))
    }

    private static func count(_ cells: SimulatedCells, _ operation: String, _ outcome: String) -> UInt64? {
        zip(SimulatedCells.all, cells.counts).first { $0.0.operation == operation && $0.0.outcome == outcome }?.1
    }

    @Test(arguments: Engine.allCases) func whatWasSaidIsCounted(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network)
            let (host, connection) = try await service.client()
            try await connection.echo("hello")
            #expect(Self.count(network.cells, "socket", "done") == 2)
            #expect(Self.count(network.cells, "socket", "EMFILE") == 0)
            let connects = engine == .uring ? "CONNECT" : "getsockopt SO_ERROR"
            #expect(Self.count(network.cells, connects, "done") == 1)
            let group = try host.makeGroup()
            host.limitDescriptors(to: host.openDescriptors)
            _ = try? await ClientBootstrap(group: group).open(host: "server", port: EchoService.port)
            #expect(Self.count(network.cells, "socket", "EMFILE") == 1)
            #expect(network.cells.unlisted.isEmpty)
            #expect(network.cells.reached > 12)
            #expect(network.cells.unreached.count + network.cells.reached == SimulatedCells.all.count)
        }
    }

    /// A host that loses power knows nothing of its connections, and says so as no kernel does that is on.
    @Test(arguments: Engine.allCases) func whatIsNotOnTheListIsNamed(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network)
            let (host, connection) = try await service.client()
            try await connection.echo("before")
            host.crash()
            host.restart()
            await #expect(throws: TransportError.self) { _ = try await connection.read(within: .seconds(60)) }
            #expect(network.cells.unlisted == [engine == .uring ? "RECV ENETDOWN" : "recv ENETDOWN"])
        }
    }

    @Test func countsAreAdded() async throws {
        var sum = SimulatedCells()
        #expect(sum.reached == 0)
        for seed in 1...2 as ClosedRange<UInt64> {
            sum.add(
                try await simulated(.epoll, seed: seed) { network in
                    _ = try await EchoService(network)
                    return network.cells
                })
        }
        #expect(Self.count(sum, "listen", "done") == 2)
    }
}
