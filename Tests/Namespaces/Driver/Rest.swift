/// What a subject has while nothing happens: what it must be back at when everybody has gone.
struct Rest {
    /// Before it had made loops, and with its servers.
    let descriptorsBefore: Int
    let descriptors: Int
    /// Listeners.
    let open: Int
}

extension Remote {
    /// Starts the subject, and brings up a server for each of `services`: a name and a size.
    func serve(_ services: [(name: String, size: Int)]) throws -> (ports: [Int], rest: Rest) {
        let before = descriptors.count
        try ask("start")
        let ports = try services.map { try ask("serve \($0.name) \($0.size)")[.port] }
        return (ports, Rest(descriptorsBefore: before, descriptors: descriptors.count, open: try counts()[.open]))
    }

    /// Waits until every channel is closed, and looks at what must not be left: descriptors, sockets in any state but those
    /// of listeners and of ends that are over (so no CLOSE_WAIT), queued bytes, promises of which nobody was told.
    @discardableResult
    func expectRest(_ rest: Rest) throws -> Counts {
        var counts = Counts()
        try eventually(
            "everything to be closed; \(rest), but: \(counts.line) descriptors=\(descriptors.count) \(leftOver)"
        ) {
            counts = try self.counts()
            let descriptors = descriptors.count
            return counts[.open] == rest.open && counts[.opened] == counts[.closed] && counts[.queuedBytes] == 0
                && counts[.unwritable] == 0 && counts[.written] == counts[.sent] + counts[.failed]
                && descriptors == rest.descriptors && sockets.connected == 0
        }
        try require(counts[.wrongBytes] == 0, "bytes in the wrong place: \(counts.line)")
        try require(counts[.stale] == 0 && counts[.overflows] == 0, "completions of nobody: \(counts.line)")
        return counts
    }

    private var leftOver: [TCPSocket] {
        Array(sockets.filter { $0.state != .listen && $0.state != .timeWait }.prefix(10))
    }

    /// Has it shut down and end; its descriptors are then those it began with.
    @discardableResult
    func end(at rest: Rest) throws -> Counts {
        let counts = try end(expecting: rest.descriptorsBefore)
        try require(counts[.opened] == counts[.closed], "channels outlived their loop: \(counts.line)")
        try require(counts[.written] == counts[.sent] + counts[.failed], "promises were forgotten: \(counts.line)")
        return counts
    }
}

/// Sizes, for people.
extension Int {
    var kibibytes: String { "\(self / 1024) KiB" }
    /// With one place behind the point.
    func perUnit(of count: Int) -> String {
        "\(self * 10 / Swift.max(1, count) / 10).\(self * 10 / Swift.max(1, count) % 10)"
    }
}
