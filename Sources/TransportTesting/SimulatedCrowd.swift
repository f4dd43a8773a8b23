internal import CSimulation

/// Very many connections to one service, from devices that are nothing but sockets: no program is on the other side, so that what
/// they cost is what the service costs.
package final class SimulatedCrowd {
    private let network: SimulatedNetwork
    private let hosts: [SimulatedHost]
    private var peers: [OpaquePointer] = []
    private var scratch: [UInt8]

    /// - Parameter hosts: how many the devices share: one has 28,000 ports.
    package init(_ network: SimulatedNetwork, hosts: Int) {
        self.network = network
        self.hosts = (0..<hosts).map { network.addHost("devices \($0)") }
        scratch = [UInt8](repeating: 0, count: 4096)
    }

    deinit { for peer in peers { sim_peer_free(peer) } }

    /// Another `count` devices connect. They are connected when the network has had time for it.
    package func connect(_ count: Int, to service: SimulatedHost, port: UInt16) {
        for _ in 0..<count {
            let from = hosts[peers.count % hosts.count]
            guard let peer = sim_peer_connect(network.world, from.number, service.number, port, 8192) else { return }
            peers.append(peer)
        }
    }

    package var count: Int { peers.count }
    package var connected: Int { peers.reduce(0) { $0 + (sim_peer_look($1).is_connected ? 1 : 0) } }

    /// All read what has come for them. How many bytes that was.
    package func read() -> Int {
        var sum = 0
        scratch.withUnsafeMutableBytes { memory in
            for peer in peers {
                while case let count = sim_peer_receive(peer, memory.baseAddress!, UInt64(memory.count)), count > 0 {
                    sum += Int(count)
                }
            }
        }
        return sum
    }

    /// All say the same.
    package func send(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { bytes in
            for peer in peers { _ = sim_peer_send(peer, bytes.baseAddress!, UInt64(bytes.count)) }
        }
    }

    /// The last `count` of them go, each with a reset or in peace.
    package func leave(_ count: Int, resetting: Bool) {
        for _ in 0..<min(count, peers.count) {
            let peer = peers.removeLast()
            if resetting { sim_peer_reset(peer) } else { sim_peer_close(peer) }
            sim_peer_free(peer)
        }
    }

    /// How many bytes the simulated kernels of this process hold.
    package static var kernelMemory: Int { Int(sim_memory_held()) }
}
