import SwiftTransport
import Testing
import TransportTesting

/// What most tests of the network need: a server that echoes on one host, clients on others.
struct EchoService: Sendable {
    let network: SimulatedNetwork
    let host: SimulatedHost
    let group: EventLoopGroup
    let server: ServerChannel

    static let port: UInt16 = 7000

    init(_ network: SimulatedNetwork, loops: Int = 1) async throws {
        self.network = network
        host = network.addHost("server")
        group = try host.makeGroup(loops: loops)
        server = try await ServerBootstrap(group: group)
            .serve { connection in
                while let bytes = try await connection.read() { try await connection.send(bytes) }
            }
            .bind(host: "0.0.0.0", port: Self.port)
    }

    /// A host with a connection to the server.
    func client(_ name: String = "client", options: ChannelOption...) async throws -> (SimulatedHost, Connection) {
        let host = network.addHost(name)
        return (host, try await connect(from: host, options))
    }

    func connect(from host: SimulatedHost, _ options: [ChannelOption] = []) async throws -> Connection {
        try await ClientBootstrap(group: host.makeGroup()).options(options).open(host: "server", port: Self.port)
    }
}

extension Connection {
    /// Sends a text and waits until it has come back.
    func echo(_ text: String) async throws {
        try await send(text)
        var rest = text.utf8.count
        while rest > 0, let bytes = try await read() { rest -= bytes.count }
        #expect(rest == 0)
    }
}

/// Runs `body` in a network of each engine.
func simulated<Result: Sendable>(
    _ engine: Engine, seed: UInt64 = 1, _ body: @escaping @Sendable (SimulatedNetwork) async throws -> Result
) async throws -> Result {
    var options = SimulationOptions()
    options.engine = engine
    return try await SimulatedNetwork.run(seed: seed, options: options, body)
}

/// Why `body` failed; `nil` when it did not.
func failure(_ body: () async throws(TransportError) -> Void) async -> TransportError.Code? {
    do throws(TransportError) {
        try await body()
        return nil
    } catch {
        return error.code
    }
}
