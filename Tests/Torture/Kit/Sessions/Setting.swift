import SwiftTransport
import TransportTesting

/// Where the two ends of sessions are: on this machine, or on two hosts of a simulated network.
struct Setting: Sendable {
    /// On which those who accept listen.
    var host = "127.0.0.1"
    var isSimulated: Bool { servers != nil }
    /// Weather may hold a connect up for longer than one waits elsewhere.
    var connectTimeout: Duration { isSimulated ? .seconds(200) : .seconds(10) }
    /// Where a name is looked up; `nil`: nowhere.
    var name: String? { servers?.name }
    /// What happens before each session, because the weather would seldom meet it else.
    private(set) var overture: [Noise.Kind] = []
    private var servers: SimulatedHost?
    private var clients: SimulatedHost?

    /// This machine.
    init() {}

    /// A network with these two.
    init(servers: SimulatedHost, clients: SimulatedHost, overture: [Noise.Kind]) {
        self.overture = overture
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

    /// Nothing passes between the two for a while.
    func cutOff(for time: Duration) async {
        guard let servers, let clients, let network = Clock.network else { return }
        network.partition(servers, from: clients)
        await Clock.sleep(time)
        network.heal()
    }

    /// Stops those who connect for a while, in which their connections are lost.
    func catchClients(for time: Duration) async {
        guard let clients else { return }
        clients.freeze()
        await Clock.sleep(time)
        clients.resetConnections()
        clients.thaw()
    }

    /// One more loop beside those who connect.
    func smallGroup(_ options: LoopOptions) throws(TransportError) -> EventLoopGroup {
        if let clients { return try clients.makeGroup(options: options) }
        return try EventLoopGroup(loops: 1, options: options)
    }
}
