import CLoad
import Foundation
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
        let seconds = "\(duration / .seconds(1))"
        switch subject {
        case .swiftTransport:
            let pinned = processors.count == 2 ? ["--processors"] + processors.map(String.init) : []
            return try MicroProcess.figures(
                of: "transport-bench", ["micro-worker", "\(port)", seconds, "--engine", engine.rawValue] + pinned,
                counting: counting)
        case .nio:
            return try Pinning().asServer {
                try MicroProcess.figures(of: "micro-nio", ["\(port)", seconds], counting: counting)
            }
        }
    }
}

/// Reads and forgets what the measured processes send. It is the library's own work, but not in their process.
private struct Drain {
    private let group: EventLoopGroup
    private let server: ServerChannel

    var port: UInt16 { server.localAddress.port }

    static func start(processor: Int?) async throws -> Drain {
        var options = LoopOptions()
        options.cpus = processor.map { [$0] } ?? []
        let group = try EventLoopGroup(loops: 1, options: options)
        return Drain(group: group, server: try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0))
    }

    func stop() async {
        await group.shutdown(within: .zero)
    }
}

extension Pinning {
    /// The numbers of the processors this process may use, ascending.
    fileprivate static var processors: [Int] {
        var numbers = [UInt32](repeating: 0, count: 1024)
        return numbers.prefix(Int(cload_allowed_processors(&numbers, UInt32(numbers.count)))).map(Int.init)
    }
}
