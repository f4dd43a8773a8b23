import Glibc
import SwiftTransport

/// What the program is asked to do. By hand and not by a library, so that nothing else has to be linked.
struct Options: Sendable {
    var engines: [Engine] = Engine.allCases
    var seconds = 60
    /// Instead of a time: how many sessions each engine runs.
    var sessions: Int?
    var seed = UInt64.random(in: 1...UInt64(UInt32.max))
    /// Sessions at a time.
    var concurrent: Int?
    /// Seconds without any progress after which a session hangs.
    var patience = 30
    /// Runs in simulated networks, with these seeds, instead of on this machine.
    var seeds: ClosedRange<UInt64>?
    /// Each of them twice.
    var isRepeated = false
    /// The first bad one is the last.
    var endsAtFirst = false
    /// Instead: so many connections to one service, in a simulated network.
    var crowd: Int?
    /// What happened is printed, whatever it was.
    var isTraced = false
    /// Seeds of a file, in simulated networks, each twice.
    var pinned: String?
    /// Looks for a smaller run that fails as a bad one does.
    var shrinks = false
    /// The sessions that run, by number; `nil`: all.
    var only: [UInt64]?
    /// What there is of weather and habits; `nil`: all that the seed has.
    var parts: [String]?

    /// The table of what the simulated kernels have said is printed.
    var tellsCells = false

    var recipe: Recipe { Recipe(sessions: only, concurrent: concurrent, parts: parts) }

    static let usage = """
        torture [--seconds N] [--sessions N] [--engine uring|epoll] [--seed N] [--concurrent N] [--patience N]
          --seconds     how long each engine runs (60)
          --sessions    how many sessions each engine runs, instead of a time
          --engine      one engine only
          --seed        what all sessions are drawn from; printed by every run
          --concurrent  sessions at a time (48)
          --patience    seconds without progress after which a session hangs (30)
          --seeds       A-B: that many runs in simulated networks instead, one for each seed
          --repeated    yes: each of them twice, and both must be the same
          --pinned      FILE: the seeds in it, the second word of each line, each twice
          --trace       yes: what happened is printed
          --cells       yes: what the simulated kernels said to each operation, and how often, is printed
          --first       yes: the first bad run is the last
          --shrink      yes: the runs are made by a child, and of a bad one what still fails is looked for
          --only        A,B: of these runs only the sessions with these numbers
          --with        A,B: of their weather and habits only these, or 'none'
          --crowd       so many connections to one service instead, in a simulated network
        """

    init(_ arguments: [String]) {
        var rest = arguments.dropFirst()
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { Self.complain(name) }
            switch (name, Int(value), Engine(rawValue: value)) {
            case ("--seconds", .some(let count), _) where count > 0: seconds = count
            case ("--sessions", .some(let count), _) where count > 0: sessions = count
            case ("--seed", .some(let count), _) where count >= 0: seed = UInt64(count)
            case ("--concurrent", .some(let count), _) where count > 0: concurrent = count
            case ("--patience", .some(let count), _) where count > 0: patience = count
            case ("--crowd", .some(let count), _) where count >= 100: crowd = count
            case ("--engine", _, .some(let engine)): engines = [engine]
            case ("--seeds", _, _):
                let ends = value.split(separator: "-").compactMap { UInt64($0) }
                guard let first = ends.first, let last = ends.last, first <= last, ends.count < 3 else {
                    Self.complain("\(name) \(value)")
                }
                seeds = first...last
            case ("--repeated", _, _) where ["yes", "no"].contains(value): isRepeated = value == "yes"
            case ("--first", _, _) where value == "yes": endsAtFirst = true
            case ("--pinned", _, _): pinned = value
            case ("--shrink", _, _) where ["yes", "no"].contains(value): shrinks = value == "yes"
            case ("--only", _, _):
                let numbers = value.split(separator: ",").map { UInt64($0) }
                guard !numbers.isEmpty, !numbers.contains(nil) else { Self.complain("\(name) \(value)") }
                only = numbers.compactMap { $0 }
            case ("--with", _, _):
                guard let known = Recipe.parts(value) else { Self.complain("\(name) \(value)") }
                parts = known
            case ("--trace", _, _) where value == "yes": isTraced = true
            case ("--cells", _, _) where value == "yes": tellsCells = true
            default: Self.complain("\(name) \(value)")
            }
        }
    }

    private static func complain(_ argument: String) -> Never {
        say(argument == "--help" ? usage : "torture: cannot make sense of '\(argument)'\n\(usage)")
        exit(argument == "--help" ? 0 : 2)
    }
}
