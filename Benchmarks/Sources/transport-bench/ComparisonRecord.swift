import Foundation

/// A comparison as JSON: every measurement, so that other statistics can be made of it later.
struct ComparisonRecord: Encodable {
    struct Machine: Encodable {
        var kernel: String
        var processors: Int
        var pinning: String
    }

    struct Summary: Encodable {
        var scenario: String
        var peer: Peer
        /// Medians over rounds, by ``Metric``; times in nanoseconds.
        var medians: [String: Double]
        /// Medians of the ratios within each round.
        var ratiosToBetterC: [String: Double]
        var ratiosToSwiftNIO: [String: Double]
    }

    var date: String
    var machine: Machine
    var rounds: Int
    var measuredSeconds: Double
    var scenarios: [Scenario]
    var summaries: [Summary]
    var idleMemory: [IdleMemory]
    var targets: [Target]
    var failures: [String]
    var measurements: [Measurement]

    init(_ report: ComparisonReport) {
        let comparison = report.comparison
        date = ISO8601DateFormatter().string(from: Date())
        machine = Machine(
            kernel: (try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8))?
                .trimmingCharacters(in: .whitespacesAndNewlines) ?? "?",
            processors: ProcessInfo.processInfo.activeProcessorCount,
            pinning: comparison.pinning.description)
        rounds = comparison.plan.rounds
        measuredSeconds = comparison.plan.measured / .seconds(1)
        scenarios = comparison.plan.scenarios
        summaries = report.scenarios.flatMap { result in
            result.peers.map { peer in
                Summary(
                    scenario: result.scenario.name, peer: peer,
                    medians: Self.byMetric { result.median($0, of: peer) },
                    ratiosToBetterC: Self.byMetric { result.ratioToBetterC($0, of: peer) },
                    ratiosToSwiftNIO: Self.byMetric { result.ratio($0, of: peer, to: .nio) })
            }
        }
        idleMemory = comparison.memory
        targets = report.targets
        failures = comparison.failures
        measurements = comparison.measurements
    }

    private static func byMetric(_ value: (Metric) -> Double?) -> [String: Double] {
        var values: [String: Double] = [:]
        for metric in Metric.allCases {
            values[metric.rawValue] = value(metric)
        }
        return values
    }
}
