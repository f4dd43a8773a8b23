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
    /// After so many seeds a long campaign says how it goes.
    private static let stage = 50_000

    /// How it went, as the process says it.
    enum Verdict: Int32 {
        case clean = 0
        case badSeeds = 1
        case unreached = 3
    }

    func execute() async -> Verdict {
        var tally = Tally()
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
            tally.add(outcome)
            if (seed - seeds.lowerBound + 1) % UInt64(Self.stage) == 0, seed < seeds.upperBound {
                say("so far \(tally.summary)")
            }
            guard !problems.isEmpty else { continue }
            tally.addBad(seed)
            say("BAD seed \(seed), \(run.engine), \(run.sessions) sessions, with: \(run.parts)")
            for line in problems { say(line) }
            if !isTraced { say(LastEvents.of(outcome.trace)) }
            say("again: \(recipe.command(seed: seed))")
            if endsAtFirst { break }
        }
        let cells = tally.cells
        if tellsCells { say(Self.table(of: cells)) }
        let missing = seeds.count >= Self.reachingAll ? cells.unreached : []
        for cell in missing { say("BAD not reached: \(cell.operation) \(cell.outcome)") }
        for name in cells.unlisted.sorted() { say("BAD not on the list of outcomes: \(name)") }
        say(tally.summary)
        return !tally.bad.isEmpty ? .badSeeds : missing.isEmpty && cells.unlisted.isEmpty ? .clean : .unreached
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
