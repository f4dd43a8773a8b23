import ArgumentParser
import MicroKit
import SwiftTransport

/// Measures all subjects in one run: rounds interleaved, every subject in a fresh process, and allocations counted in a
/// process of its own, because counting costs time.
struct MicroRun {
    let rounds: Int
    let duration: Duration
    let engine: Engine

    /// Who is measured.
    enum Subject: String, CaseIterable, Codable, Sendable {
        case swiftTransport = "swift-transport"
        case nio = "swift-nio"

        var title: String { self == .nio ? "SwiftNIO" : "SwiftTransport" }
    }

    /// How long a process runs that only counts.
    private static let countingDuration: Duration = .milliseconds(300)

    /// What the commands that measure in rounds accept.
    static func validate(rounds: Int, seconds: Double) throws {
        guard rounds > 0 else { throw ValidationError("--rounds must be at least 1.") }
        guard seconds > 0, seconds <= 3600 else { throw ValidationError("--seconds must be above 0, an hour at most.") }
    }

    func costs() async throws -> [MicroCost] {
        let processors = Array(Pinning.processors.prefix(2))
        let drain = try await Drain.start(processor: processors.last)
        var figures: [Subject: [[MicroFigure]]] = [:]
        for round in 1...rounds {
            for subject in Subject.allCases {
                progress("[\(round)/\(rounds)] \(subject.title) ...")
                figures[subject, default: []].append(
                    try Self.run(subject, drain.port, duration, engine, processors, counting: false))
            }
        }
        var costs: [MicroCost] = []
        for subject in Subject.allCases {
            progress("counting allocations: \(subject.title) ...")
            let counted = try Self.run(subject, drain.port, Self.countingDuration, engine, processors, counting: true)
            costs += counted.map { figure in
                let timed = (figures[subject] ?? []).flatMap { $0 }.filter { $0.name == figure.name }
                return MicroCost(subject, timed: timed, counted: figure)
            }
        }
        await drain.stop()
        return costs
    }

    private static func run(
        _ subject: Subject, _ port: UInt16, _ duration: Duration, _ engine: Engine, _ processors: [Int], counting: Bool
    ) throws -> [MicroFigure] {
        switch subject {
        case .swiftTransport:
            return try MicroProcess.ownFigures(port, duration, engine, processors, counting: counting)
        case .nio:
            return try Pinning().asServer {
                try MicroProcess.figures(of: "micro-nio", ["\(port)", duration.inSeconds], counting: counting)
            }
        }
    }
}
