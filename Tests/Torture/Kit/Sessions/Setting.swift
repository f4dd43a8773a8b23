import SwiftTransport
import TransportTesting

/// Where the two ends of sessions are: on this machine, or on two hosts of a simulated network.
struct Setting: Sendable {
    /// On which those who accept listen.
    var host = "127.0.0.1"
    var isSimulated: Bool { servers != nil }
    /// Weather may hold a connect up for longer than one waits elsewhere.
    var connectTimeout: Duration { isSimulated ? .seconds(200) : .seconds(10) }
    private var servers: SimulatedHost?
    private var clients: SimulatedHost?

    /// This machine.
    init() {}

    /// A network with these two.
    init(servers: SimulatedHost, clients: SimulatedHost) {
        self.servers = servers
        self.clients = clients
        host = servers.address
    }

    /// The loops of those who accept and of those who connect: on one machine the same.
    func groups(loops: Int, _ options: LoopOptions) throws -> (servers: EventLoopGroup, clients: EventLoopGroup) {
        guard let servers, let clients else {
            let group = try EventLoopGroup(loops: loops, options: options)
            return (group, group)
        }
        return (
            try servers.makeGroup(loops: loops, options: options), try clients.makeGroup(loops: loops, options: options)
        )
    }
}
