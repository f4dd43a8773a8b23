import Glibc
import SwiftTransport

/// Plays one scenario, in a namespace that was made for it, and says what was counted.
enum Driver {
    /// - Parameter words: the scenario's name, the engine's, and `short` or `full`.
    static func main(_ words: [String]) -> Never {
        // Whoever writes to a subject that has ended is told, not killed.
        signal(SIGPIPE, SIG_IGN)
        guard words.count == 3, let engine = Engine(rawValue: words[1]),
            let scenario = Scenario.all.first(where: { $0.name == words[0] })
        else {
            say("namespaces: cannot make sense of \(words)")
            exit(2)
        }
        let start = ContinuousClock.now
        do {
            try Namespace.prepare()
            try Limits.setDescriptors(.max)
            let figures = try scenario.play(on: Stage(engine, isShort: words[2] == "short"))
            let time = (ContinuousClock.now - start).components
            say(
                "ok \(scenario.name), \(engine), \(time.seconds).\(time.attoseconds / 100_000_000_000_000_000) s: \(figures)"
            )
            exit(0)
        } catch {
            say("\(scenario.name), \(engine): \(error)")
            exit(1)
        }
    }
}

/// Something that goes wrong, and what must hold all the same.
struct Scenario: Sendable {
    let name: String
    /// It takes seconds, and another one like it is in the short runs.
    let isLong: Bool
    /// Returns what was counted, for people.
    private let body: @Sendable (Stage) throws -> String

    init(_ name: String, isLong: Bool = false, _ body: @escaping @Sendable (Stage) throws -> String) {
        self.name = name
        self.isLong = isLong
        self.body = body
    }

    static var all: [Scenario] {
        [.descriptorExhaustion, .slowWriters, .slowReaders, .resetStorm] + killed + blackHoles
    }

    func play(on stage: Stage) throws -> String { try body(stage) }
}

/// Where a scenario happens: which engine, how many connections.
final class Stage {
    private let engine: Engine
    private let isShort: Bool
    /// Devices have names that no others had: the kernel takes its time with those that are gone.
    private var pairs = 0

    init(_ engine: Engine, isShort: Bool) {
        self.engine = engine
        self.isShort = isShort
    }

    /// How many connections, as far as this machine lets a process have descriptors.
    func size(_ full: Int, short: Int) -> Int { min(isShort ? short : full, Limits.descriptors - 100) }

    /// A subject in a namespace of its own.
    func subjectBeyond() throws -> Remote {
        pairs += 1
        return try Remote(engine, beyond: pairs)
    }

    /// A subject in the driver's namespace.
    func subjectHere() throws -> Remote { try Remote(engine, beyond: nil) }
}
