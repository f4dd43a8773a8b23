import Glibc

extension Scenario {
    /// Connections that are sent much and read nothing, and then little by little: what is queued stays within the water
    /// marks, everybody gets every byte, and who goes away unread takes nothing along.
    static let slowReaders = Scenario("slow readers") { stage in
        let count = stage.size(10_000, short: 200)
        let total = 128 * 1024
        let remote = try stage.subjectBeyond()
        let (ports, rest) = try remote.serve([("trickle", total)])
        var growth = Growth()
        var queued = 0
        for round in 0..<3 {
            let before = remote.residentBytes
            let peers = try (0..<count).map { _ in try Peer(remote, port: ports[0], receiveBuffer: 8 * 1024) }
            var counts = Counts()
            try eventually("all to be full: \(counts.line)") {
                counts = try remote.counts()
                return counts[.unwritable] == count
            }
            growth.opened(remote.residentBytes, from: before)
            queued = counts[.queuedBytes]
            // The write that crosses the mark is the last one; an entry of the queue counts too.
            try require(queued <= count * (16 * 1024 + 4096 + 512), "\(queued) bytes queued")
            try require(queued >= count * 8 * 1024, "\(queued) bytes queued are too few to prove anything")

            for (index, peer) in peers.enumerated() where index % 4 == 0 { peer.reset() }
            for (index, peer) in peers.enumerated() where index % 4 == 1 { peer.close() }
            try Reading.all(peers.enumerated().filter { $0.offset % 4 > 1 }.map(\.element), total: total)
            for peer in peers { peer.close() }
            let end = try remote.expectRest(rest)
            try require(end[.opened] == (round + 1) * count, "\(end[.opened]) were served")
            try require(end[.failed] > 0, "the writes of those who left were not failed")
            growth.closed(remote.residentBytes)
        }
        // What is queued, and the connection itself.
        try growth.check(connections: count, bytesEach: 16 * 1024 + 4096 + 8 * 1024)
        let end = try remote.counts()
        try remote.end(at: rest)
        return "\(count) connections, 3 rounds, \(queued.perUnit(of: count)) B queued on each; "
            + "\(growth.description(count)); \(end[.written]) promises: \(end[.sent]) sent, \(end[.failed]) failed; CLOSE_WAIT 0"
    }
}

/// Peers that read slowly: a little of one, a little of the next.
private struct Reading {
    static func all(_ peers: [Peer], total: Int) throws {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 8 * 1024, alignment: 1)
        defer { memory.deallocate() }
        var positions = [Int](repeating: 0, count: peers.count)
        var unfinished = Array(peers.indices)
        try eventually("all to be read: \(unfinished.count) are not") {
            for index in unfinished {
                let (read, hasEnded) = try peers[index].readWhatIsThere(into: memory)
                let bytes = UnsafeRawBufferPointer(rebasing: memory[..<read])
                try require(Pattern.mismatches(bytes, at: positions[index]) == 0, "wrong bytes at \(positions[index])")
                positions[index] += read
                if hasEnded {
                    try require(
                        positions[index] == total, "the stream ended after \(positions[index]) of \(total) bytes")
                    positions[index] = -1
                }
            }
            unfinished.removeAll { positions[$0] < 0 }
            return unfinished.isEmpty
        }
    }
}
