import ArgumentParser
import SwiftTransport

/// Peers named on the command line, separated by commas.
struct PeerList: ExpressibleByArgument {
    var peers: [Peer]

    static let all = PeerList(peers: Peer.allCases)

    init(peers: [Peer]) {
        self.peers = peers
    }

    init?(argument: String) {
        var peers: [Peer] = []
        for name in argument.split(separator: ",") {
            guard let peer = Peer(rawValue: String(name)) else { return nil }
            if !peers.contains(peer) { peers.append(peer) }
        }
        guard !peers.isEmpty else { return nil }
        self.peers = peers
    }

    /// Those that can run here: where io_uring is forbidden, its C peer has nothing to run on.
    var runnable: [Peer] { peers.filter { $0 != .uring || SwiftTransport.Engine.uring.isAvailable } }

    var defaultValueDescription: String { "all" }
}
