import SwiftTransport

/// A comparison in words and tables.
struct ComparisonReport {
    let comparison: Comparison
    let scenarios: [ScenarioResult]
    let targets: [Target]

    init(_ comparison: Comparison) {
        self.comparison = comparison
        let plan = comparison.plan
        scenarios = plan.scenarios.map { ScenarioResult($0, comparison.measurements) }
        targets = Target.all(scenarios: scenarios, memory: comparison.memory)
    }

    var text: String {
        var parts = [preamble]
        for result in scenarios where !result.peers.isEmpty {
            parts.append("\(result.scenario.name)) \(result.scenario.title)\n" + values(result).text)
            parts.append("  ratios, x better C | x SwiftNIO\n" + ratios(result).text)
        }
        if !comparison.memory.isEmpty {
            parts.append(
                "Idle connections: \(comparison.plan.idleConnections), one echo of 64 B on each\n"
                    + IdleMemory.table(comparison.memory).text)
        }
        parts.append(mustShow)
        parts += comparison.failures.map { "FAILED: \($0)" }
        return parts.joined(separator: "\n\n")
    }

    private var preamble: String {
        """
        \(SwiftTransport.Engine.report)
        \(comparison.plan.rounds) interleaved rounds, order rotated; \(comparison.pinning.description).
        Values are medians over rounds; ratios are medians of the ratios within each round, against the C peer with the
        better median. CPU is the server's, per echoed message, by the scheduler's clock (schedstat); user and system
        divide it by the kernel's 250 Hz samples (stat) of all rounds together. Every echoed byte was checked.
        """
    }

    private func values(_ result: ScenarioResult) -> Table {
        var table = Table(header: [
            "server", "CPU us/msg", "user", "system", "messages/s", "MB/s", "p50 us", "p99", "p99.9",
        ])
        for peer in result.peers {
            let cpu = result.median(.cpu, of: peer)
            let user = result.median(.user, of: peer)
            let system = cpu.flatMap { cpu in user.map { cpu - $0 } }
            let latencies = [Metric.p50, .p99, .p999].map { result.median($0, of: peer) }
            table.add(
                [peer.title]
                    + [cpu, user, system].map { optional($0.map { $0 / 1000 }, decimals: 2) }
                    + [
                        optional(result.median(.messagesPerSecond, of: peer), decimals: 0),
                        optional(result.median(.megabytesPerSecond, of: peer), decimals: 1),
                    ]
                    + latencies.map { optional($0.map { $0 / 1000 }, decimals: 1) })
        }
        return table
    }

    private func ratios(_ result: ScenarioResult) -> Table {
        var table = Table(header: ["server"] + Metric.allCases.map(\.rawValue))
        for peer in result.peers {
            table.add(
                [peer.title]
                    + Metric.allCases.map { metric in
                        let toC = optional(result.ratioToBetterC(metric, of: peer), decimals: 2)
                        let toNIO = optional(result.ratio(metric, of: peer, to: .nio), decimals: 2)
                        return "\(toC) | \(toNIO)"
                    })
        }
        return table
    }

    private var mustShow: String {
        guard !targets.isEmpty else {
            return "Must show: nothing, as this run lacks SwiftTransport or what it is compared with."
        }
        var table = Table(header: ["Must show", "target", "measured", "met"])
        for target in targets {
            table.add([target.what, target.target, target.measured, target.isMet ? "yes" : "NO"])
        }
        return table.text
    }
}
