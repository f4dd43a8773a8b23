import SwiftTransport
import TransportTesting

/// What runs have done so far, all together.
struct Tally {
    private var seeds = 0
    private var sessions = 0
    private var elapsed = Duration.zero
    private var packets = 0, calls = 0, faults = 0, resets = 0, bytes = 0
    private(set) var cells = SimulatedCells()
    private(set) var bad: [UInt64] = []
    private let begin = ContinuousClock.now

    mutating func add(_ outcome: SimulatedRun.Outcome) {
        seeds += 1
        sessions += outcome.sessions
        elapsed += outcome.elapsed
        cells.add(outcome.cells)
        guard let counts = outcome.statistics else { return }
        packets += counts.packets
        calls += counts.calls
        faults += counts.faults + counts.lostPackets
        resets += counts.resets
        bytes += counts.bytes
    }

    mutating func addBad(_ seed: UInt64) { bad.append(seed) }

    var summary: String {
        let seconds = (ContinuousClock.now - begin) / .seconds(1)
        return """
            \(seeds) seeds, \(Run.grouped(sessions)) sessions, \(Run.grouped(packets)) packets, \
            \(Run.grouped(calls)) calls, \(Run.grouped(faults)) faults, \(Run.grouped(resets)) resets, \
            \(Run.grouped(bytes)) bytes, \(Run.grouped(Int(elapsed / .seconds(1)))) simulated seconds in \(Int(seconds)) s: \
            \(cells.reached) of \(SimulatedCells.all.count) outcomes: \
            \(bad.isEmpty ? "0 bad" : "\(bad.count) bad: \(bad.prefix(20))")
            """
    }
}
