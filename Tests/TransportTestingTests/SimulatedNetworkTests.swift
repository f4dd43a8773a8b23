import SwiftTransport
import Testing
import TransportTesting

@Suite struct SimulatedNetworkTests {
    @Test(arguments: Engine.allCases) func echo(engine: Engine) async throws {
        var options = SimulationOptions()
        options.engine = engine
        let hash = try await SimulatedNetwork.run(seed: 1, options: options) { network in
            let there = network.addHost("server")
            let here = network.addHost("client")
            let servers = try there.makeGroup()
            let clients = try here.makeGroup()
            let server = try await ServerBootstrap(group: servers).childConnections().bind(host: "0.0.0.0", port: 7000)
            let serving = Task {
                try await server.run { connection in
                    while let bytes = try await connection.read() { try await connection.send(bytes) }
                }
            }
            try await ClientBootstrap(group: clients).withConnection(host: "server", port: 7000) { connection in
                try await connection.send(Buffer("hello"))
                #expect(try await connection.read() == Buffer("hello"))
            }
            await servers.shutdown(within: .seconds(1))
            await clients.shutdown(within: .seconds(1))
            _ = await serving.result
            return network.traceHash
        }
        #expect(hash != 0)
    }
}
