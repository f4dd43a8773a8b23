/// Looks for a smaller run of a seed that fails as the whole one does, by leaving out one thing after the other.
struct Shrinking {
    /// Runs, and seconds, that it may take.
    private static let runs = 150
    private static let seconds = 120

    let seed: UInt64
    let isRepeated: Bool
    private let end = ContinuousClock.now + .seconds(Self.seconds)
    private var left = Self.runs
    /// What is to be found again.
    private(set) var kind = ""
    private(set) var smallest: Recipe
    private(set) var last: Trial?

    init(seed: UInt64, _ recipe: Recipe, isRepeated: Bool) {
        self.seed = seed
        self.isRepeated = isRepeated
        smallest = recipe
    }

    /// What is left is in ``smallest``, and how that failed in ``last``. False when the seed alone does not fail at all.
    mutating func execute() -> Bool {
        let whole = SimulatedRun(seed: seed, smallest)
        let first = trial(smallest, seconds: 20)
        guard let found = first.kinds.first else { return false }
        kind = found
        last = first
        // Most need nothing of it, and some only one thing.
        attempt { $0.parts = [] }
        attempt { $0.concurrent = 1 }
        let sessions = smallest.sessions ?? (1...UInt64(whole.sessions)).map { $0 }
        reduce(sessions) { $0.sessions = $1 }
        reduce(SimulatedRun(seed: seed, smallest).parts) { $0.parts = $1 }
        // What there was of it may have been others' doing.
        attempt { $0.concurrent = 1 }
        return true
    }

    var runs: Int { Self.runs - left }

    private func trial(_ recipe: Recipe, seconds: Int) -> Trial {
        Trial(seed: seed, recipe, isRepeated: isRepeated, seconds: seconds)
    }

    @discardableResult
    private mutating func attempt(_ change: (inout Recipe) -> Void) -> Bool {
        var candidate = smallest
        change(&candidate)
        guard candidate != smallest, left > 0, ContinuousClock.now < end else { return false }
        left -= 1
        let trial = trial(candidate, seconds: kind == "does not end" ? 5 : 20)
        guard trial.kinds.contains(kind) else { return false }
        smallest = candidate
        last = trial
        return true
    }

    /// Delta debugging: halves, then quarters, are tried alone and left out, until not one can be left out.
    private mutating func reduce<Item: Equatable>(_ items: [Item], _ set: (inout Recipe, [Item]) -> Void) {
        var items = items
        var pieces = 2
        while items.count > 1, left > 0 {
            let size = (items.count + pieces - 1) / pieces
            let parts = stride(from: 0, to: items.count, by: size).map {
                Array(items[$0..<min($0 + size, items.count)])
            }
            if let part = parts.first(where: { part in attempt { set(&$0, part) } }) {
                items = part
                pieces = 2
                continue
            }
            let rests = parts.indices.map { index in parts.indices.filter { $0 != index }.flatMap { parts[$0] } }
            if pieces > 2, let rest = rests.first(where: { rest in attempt { set(&$0, rest) } }) {
                items = rest
                pieces = max(2, pieces - 1)
            } else if size == 1 {
                break
            } else {
                pieces = min(items.count, pieces * 2)
            }
        }
    }
}
