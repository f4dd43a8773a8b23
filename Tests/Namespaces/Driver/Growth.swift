/// The memory of a process over rounds of the same, of which the first is for warming up.
struct Growth {
    /// What opening so many connections added, in each round.
    private var added: [Int] = []
    /// What there was at the end of each opening, and when all were closed.
    private var peaks: [Int] = []
    private var left: [Int] = []

    mutating func opened(_ bytes: Int, from before: Int) {
        added.append(bytes - before)
        peaks.append(bytes)
    }

    mutating func closed(_ bytes: Int) { left.append(bytes) }

    /// - Parameter bytesEach: what a connection may cost.
    func check(connections: Int, bytesEach: Int) throws {
        let most = added.max() ?? 0
        try require(
            most <= connections * bytesEach + (2 << 20), "\(most.perUnit(of: connections)) bytes for each connection")
        // How much an allocator gives back of what was freed, and when, is its own business; but what is forgotten makes every
        // round need more than all before it.
        let needed = peaks.isEmpty ? left : peaks
        let grown = needed[needed.count - 1] - (needed.dropLast().max() ?? 0)
        try require(
            grown <= max(4 << 20, (added.first ?? 0) / 8),
            "\(grown.kibibytes) more than in any round before: \(needed.map(\.kibibytes))")
    }

    func description(_ connections: Int) -> String {
        let first =
            added.isEmpty
            ? ""
            : "RSS \((added.max() ?? 0).perUnit(of: connections)) B for each connection, in each round "
                + peaks.map(\.kibibytes).joined(separator: ", ") + " and "
        return first + "afterwards " + left.map(\.kibibytes).joined(separator: ", ")
    }
}
