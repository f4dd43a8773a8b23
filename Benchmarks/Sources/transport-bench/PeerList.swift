import ArgumentParser

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

    var defaultValueDescription: String { "all" }
}
