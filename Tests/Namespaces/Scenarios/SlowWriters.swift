extension Scenario {
    /// Connections that send a byte at a time and never finish: each costs little, and each is served, or closed when the
    /// server wants it.
    static let slowWriters = Scenario("slow writers") { stage in
        let count = stage.size(10_000, short: 400)
        let bytes = 5
        let remote = try stage.subjectBeyond()
        let (ports, rest) = try remote.serve([("echo", 0)])
        var growth = Growth()
        for round in 0..<3 {
            let before = remote.residentBytes
            let peers = try (0..<count).map { _ in try Peer(remote, port: ports[0]) }
            for byte in 0..<bytes {
                for (index, peer) in peers.enumerated() { try peer.write(UInt8(truncatingIfNeeded: index + byte)) }
                for (index, peer) in peers.enumerated() { try peer.expect(UInt8(truncatingIfNeeded: index + byte)) }
            }
            growth.opened(remote.residentBytes, from: before)
            let counts = try remote.counts()
            try require(counts[.opened] - counts[.closed] == count, "not all are connected: \(counts.line)")

            // Some end properly, some are cut off, and the others are thrown out.
            for (index, peer) in peers.enumerated() where index % 3 == 0 {
                peer.shutdownOutput()
                try peer.expectEnd()
            }
            for (index, peer) in peers.enumerated() where index % 3 == 1 { peer.reset() }
            try eventually("two thirds to have gone") {
                let counts = try remote.counts()
                return counts[.opened] - counts[.closed] == peers.indices.count { $0 % 3 == 2 }
            }
            try remote.ask("close immediate")
            for (index, peer) in peers.enumerated() where index % 3 == 2 { try peer.expectEnd() }
            for peer in peers { peer.close() }
            let end = try remote.expectRest(rest)
            try require(end[.opened] == (round + 1) * count, "\(end[.opened]) were served")
            growth.closed(remote.residentBytes)
        }
        try growth.check(connections: count, bytesEach: 6 * 1024)
        try remote.end(at: rest)
        return "\(count) connections, 3 rounds of \(bytes) bytes each; \(growth.description(count)); CLOSE_WAIT 0"
    }
}
