import Foundation

/// One peer under one scenario in one round.
struct Measurement: Codable, Sendable {
    var peer: Peer
    var scenario: String
    var round: Int
    var result: LoadResult
    /// Server CPU time per message, by the scheduler's clock.
    var cpuNanosecondsPerMessage: Double
    /// How the kernel's sampling divided that time; see ``ProcStat/CPU``.
    var userTicks: UInt64
    var systemTicks: UInt64

    /// Runs the scenario against a fresh server.
    static func take(
        _ peer: Peer, _ scenario: Scenario, round: Int, plan: ComparisonPlan, pinning: Pinning, extra: [String] = []
    ) throws -> Measurement {
        let server = try pinning.asServer { try PeerProcess(peer, host: plan.host, engine: plan.engine, extra: extra) }
        defer { server.stop() }
        var before: ProcStat.CPU?
        var after: ProcStat.CPU?
        let result: LoadResult
        do {
            result = try pinning.asLoad {
                try scenario.load.run(
                    host: plan.host, port: server.port, warmUp: plan.warmUp, measured: plan.measured
                ) { begins in
                    let reading = try? ProcStat.cpu(of: server.pid)
                    if begins { before = reading } else { after = reading }
                }
            }
        } catch {
            throw BenchError("\(peer.title), scenario \(scenario.name): \(error)\n\(server.complaint)")
        }
        guard let before, let after, result.messages > 0 else {
            throw BenchError("\(peer.title), scenario \(scenario.name): nothing was measured")
        }
        let used = after - before
        return Measurement(
            peer: peer, scenario: scenario.name, round: round, result: result,
            cpuNanosecondsPerMessage: Double(used.nanoseconds) / Double(result.messages),
            userTicks: used.userTicks, systemTicks: used.systemTicks)
    }
}
