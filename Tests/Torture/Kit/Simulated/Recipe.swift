import Glibc

/// What of a seed's run is to happen, when it is not all of it: how a run that fails gets smaller. Everything that is left out was
/// drawn all the same, so that the rest stays as it was.
struct Recipe: Sendable, Equatable {
    /// The sessions that take place, by number; `nil`: all.
    var sessions: [UInt64]?
    /// How many at a time; `nil`: as the seed has it.
    var concurrent: Int?
    /// What there is of weather and habits, by name; `nil`: all that the seed has.
    var parts: [String]?

    static let none = "none"

    /// As options of the program.
    var arguments: [String] {
        var arguments: [String] = []
        if let sessions { arguments += ["--only", sessions.map { "\($0)" }.joined(separator: ",")] }
        if let concurrent { arguments += ["--concurrent", "\(concurrent)"] }
        if let parts { arguments += ["--with", parts.isEmpty ? Self.none : parts.joined(separator: ",")] }
        return arguments
    }

    /// How to see it again.
    func command(seed: UInt64) -> String {
        if arguments.isEmpty { return "make sim SEED=\(seed)" }
        let words = arguments.map { $0.contains(" ") ? "'\($0)'" : $0 }
        return "make sim SEED=\(seed) SIM=\"\(words.joined(separator: " "))\""
    }

    /// The names in a list of them; `nil` when one of them is nobody's.
    static func parts(_ list: String) -> [String]? {
        if list == none { return [] }
        let parts = list.split(separator: ",").map { String($0.drop { $0 == " " }) }
        return parts.allSatisfy(Weather.allNames.union(Habits.names.map(\.name)).contains) ? parts : nil
    }
}
