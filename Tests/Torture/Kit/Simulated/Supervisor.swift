import Glibc

/// A campaign in a child process, which may be stopped by what it finds. Each bad seed is made smaller, and the rest of the seeds follow.
struct Supervisor {
    private let options: Options
    private let seeds: ClosedRange<UInt64>
    /// Where the child says which seed it is at.
    private let file: String
    private var hasReachedAll = true

    init(_ options: Options, _ seeds: ClosedRange<UInt64>) {
        self.options = options
        self.seeds = seeds
        let asked = getenv("SIM_SEED_FILE").map { String(cString: $0) }
        file = asked ?? "/tmp/torture-\(getpid()).seed"
        setenv("SIM_SEED_FILE", file, 1)
    }

    /// True when nothing was wrong.
    mutating func execute() -> Bool {
        var bad: [UInt64] = []
        var first = seeds.lowerBound
        while first <= seeds.upperBound, let seed = firstBad(of: first...seeds.upperBound) {
            bad.append(seed)
            shrink(seed)
            if options.endsAtFirst { break }
            first = seed + 1
        }
        if !bad.isEmpty { say("\(bad.count) bad in all: \(bad.prefix(20))") }
        return bad.isEmpty && hasReachedAll
    }

    private mutating func firstBad(of seeds: ClosedRange<UInt64>) -> UInt64? {
        var arguments =
            ["--seeds", "\(seeds.lowerBound)-\(seeds.upperBound)", "--first", "yes"] + options.recipe.arguments
        if options.isRepeated { arguments += ["--repeated", "yes"] }
        if options.tellsCells { arguments += ["--cells", "yes"] }
        if options.isTraced { arguments += ["--trace", "yes"] }
        let watch = SeedWatch(file, from: seeds.lowerBound)
        let end = Child(arguments).wait { watch.isLate }
        if end == .exited(Campaign.Verdict.clean.rawValue) { return nil }
        if end == .exited(Campaign.Verdict.unreached.rawValue) {
            hasReachedAll = false
            return nil
        }
        let seed = watch.seed
        if end == .late { say("BAD seed \(seed) does not end") }
        return seed
    }

    private func shrink(_ seed: UInt64) {
        var shrinking = Shrinking(seed: seed, options.recipe, isRepeated: options.isRepeated)
        guard shrinking.execute(), let last = shrinking.last else {
            return say(
                "seed \(seed) does not fail alone: what came before has a part in it. From \(seeds.lowerBound) on it does."
            )
        }
        let whole = SimulatedRun(seed: seed, options.recipe)
        let left = SimulatedRun(seed: seed, shrinking.smallest)
        let gone = whole.parts.filter { !left.parts.contains($0) }
        say("SHRUNK, in \(shrinking.runs) runs; what is left says")
        say(last.output)
        say("seed \(seed) fails still with: \(Self.sessions(shrinking.smallest, left)), \(Self.list(left.parts))")
        say("  without: \(Self.list(gone))")
        say("  how: \(shrinking.kind)")
        say("again: \(shrinking.smallest.command(seed: seed))")
    }

    private static func list(_ names: [String]) -> String {
        names.isEmpty ? "nothing else" : names.joined(separator: ", ")
    }

    private static func sessions(_ recipe: Recipe, _ run: SimulatedRun) -> String {
        let count = recipe.sessions?.count ?? run.sessions
        let numbers =
            recipe.sessions.map { " (\($0.map { "\($0)" }.joined(separator: ", ")) of \(run.sessions))" } ?? ""
        return "\(count) session\(count == 1 ? "" : "s")\(numbers), \(run.concurrent) at a time"
    }
}

/// Which seed a child is at, and whether it has been there for too long.
private final class SeedWatch {
    private static let patience = Duration.seconds(120)

    private let file: String
    private var known: UInt64
    private var since = ContinuousClock.now
    private var lookedAt = ContinuousClock.now

    init(_ file: String, from first: UInt64) {
        self.file = file
        known = first
        unlink(file)
    }

    var isLate: Bool {
        let now = ContinuousClock.now
        guard now > lookedAt + .seconds(1) else { return false }
        lookedAt = now
        let seed = seed
        if seed != known {
            known = seed
            since = now
        }
        return now > since + Self.patience
    }

    var seed: UInt64 {
        guard let stream = fopen(file, "r") else { return known }
        defer { fclose(stream) }
        var line = [CChar](repeating: 0, count: 32)
        guard fgets(&line, 32, stream) != nil else { return known }
        return UInt64(String(decoding: line.prefix { $0 >= 48 }.map { UInt8($0) }, as: UTF8.self)) ?? known
    }
}
