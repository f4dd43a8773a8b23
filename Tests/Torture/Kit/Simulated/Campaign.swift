import Glibc
import SwiftTransport
import TransportTesting

/// Runs of one seed after the other, and the last line of them all.
struct Campaign: Sendable {
    let seeds: ClosedRange<UInt64>
    var recipe = Recipe()
    /// Each seed twice: both runs must be the same.
    var isRepeated = false
    var isTraced = false
    var endsAtFirst = false
    var tellsCells = false
    /// So many seeds reach everything that can be reached.
    private static let reachingAll = 2000

    /// How it went, as the process says it.
    enum Verdict: Int32 {
        case clean = 0
        case badSeeds = 1
        case unreached = 3
    }

    func execute() async -> Verdict {
        var bad: [UInt64] = []
        var sessions = 0
        var elapsed = Duration.zero
        var sum = (packets: 0, calls: 0, faults: 0, resets: 0, bytes: 0)
        var cells = SimulatedCells()
        let begin = ContinuousClock.now
        var heap = Heap()
        for seed in seeds {
            var run = SimulatedRun(seed: seed, recipe)
            run.isTraced = isTraced
            announce(seed)
            let outcome = await run.execute()
            var problems = outcome.problems
            if isTraced { say(outcome.trace) }
            if isRepeated {
                run.isScattered = true
                let again = await run.execute()
                if isTraced { say("AGAIN\n" + again.trace) }
                if again.hash != outcome.hash {
                    problems.append("a second run was another: \(outcome.hash), \(again.hash)")
                }
            }
            if let leak = heap.look() { problems.append(leak) }
            sessions += outcome.sessions
            elapsed += outcome.elapsed
            cells.add(outcome.cells)
            if let counts = outcome.statistics {
                sum.packets += counts.packets
                sum.calls += counts.calls
                sum.faults += counts.faults + counts.lostPackets
                sum.resets += counts.resets
                sum.bytes += counts.bytes
            }
            guard !problems.isEmpty else { continue }
            bad.append(seed)
            say("BAD seed \(seed), \(run.engine), \(run.sessions) sessions, with: \(run.parts)")
            for line in problems { say(line) }
            if !isTraced { say(LastEvents.of(outcome.trace)) }
            say("again: \(recipe.command(seed: seed))")
            if endsAtFirst { break }
        }
        if tellsCells { say(Self.table(of: cells)) }
        let missing = seeds.count >= Self.reachingAll ? cells.unreached : []
        for cell in missing { say("BAD not reached: \(cell.operation) \(cell.outcome)") }
        for name in cells.unlisted.sorted() { say("BAD not on the list of outcomes: \(name)") }
        let seconds = (ContinuousClock.now - begin) / .seconds(1)
        say(
            """
            \(seeds.count) seeds, \(Run.grouped(sessions)) sessions, \(Run.grouped(sum.packets)) packets, \
            \(Run.grouped(sum.calls)) calls, \(Run.grouped(sum.faults)) faults, \(Run.grouped(sum.resets)) resets, \
            \(Run.grouped(sum.bytes)) bytes, \(Run.grouped(Int(elapsed / .seconds(1)))) simulated seconds in \(Int(seconds)) s: \
            \(cells.reached) of \(SimulatedCells.all.count) outcomes: \
            \(bad.isEmpty ? "0 bad" : "\(bad.count) bad: \(bad.prefix(20))")
            """)
        return !bad.isEmpty ? .badSeeds : missing.isEmpty && cells.unlisted.isEmpty ? .clean : .unreached
    }

    /// A line for each operation.
    private static func table(of cells: SimulatedCells) -> String {
        var lines: [String] = []
        var last = ""
        for (cell, count) in zip(SimulatedCells.all, cells.counts) {
            if cell.operation != last { lines.append(cell.operation + ":") }
            last = cell.operation
            lines[lines.count - 1] += " \(cell.outcome) \(Run.grouped(Int(count))),"
        }
        return lines.joined(separator: "\n")
    }

    /// Who is killed by a broken invariant leaves the number of its seed behind.
    private func announce(_ seed: UInt64) {
        guard let file = getenv("SIM_SEED_FILE") else { return }
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        let text = "\(seed)\n"
        _ = text.withCString { write(descriptor, $0, strlen($0)) }
        close(descriptor)
    }
}
