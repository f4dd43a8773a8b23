/// Measures all peers in one run: rounds interleaved, the order rotated, every server in a fresh process.
struct Comparison {
    let plan: ComparisonPlan
    let pinning = Pinning()
    /// Peers still in the run. One that fails is named in `failures` and left out from then on.
    private(set) var peers: [Peer]
    private(set) var failures: [String] = []
    private(set) var measurements: [Measurement] = []
    private(set) var memory: [IdleMemory] = []

    init(plan: ComparisonPlan) {
        self.plan = plan
        peers = plan.peers
    }

    mutating func run() {
        dropPeersThatDoNotStart()
        let total = plan.rounds * plan.scenarios.count
        for round in 0..<plan.rounds {
            for (index, scenario) in plan.scenarios.enumerated() {
                progress(
                    "[\(round * plan.scenarios.count + index + 1)/\(total)] round \(round + 1) of \(plan.rounds), "
                        + "\(scenario.name): \(scenario.title) ...", newline: false)
                measure(scenario, round: round)
            }
        }
        measureMemory()
    }

    private mutating func dropPeersThatDoNotStart() {
        let plan = plan
        for peer in peers {
            attempt(peer) { try PeerProcess(peer, host: plan.host, engine: plan.engine).stop() }
        }
    }

    private mutating func measure(_ scenario: Scenario, round: Int) {
        let (plan, pinning) = (plan, pinning)
        for peer in rotated(by: round) {
            let measurement = attempt(peer) {
                try Measurement.take(peer, scenario, round: round, plan: plan, pinning: pinning)
            }
            guard let measurement else { continue }
            measurements.append(measurement)
            let cost = (measurement.cpuNanosecondsPerMessage / 1000).formatted(decimals: 2)
            progress("  \(peer.rawValue) \(cost) us", newline: false)
        }
        progress("")
    }

    private mutating func measureMemory() {
        let plan = plan
        for peer in peers {
            progress("idle memory: \(plan.idleConnections) connections to \(peer.title) ...")
            let figure = attempt(peer) {
                try IdleMemory.measure(
                    peer, host: plan.host, engine: plan.engine, connections: plan.idleConnections, messageBytes: 64)
            }
            if let figure { memory.append(figure) }
        }
    }

    /// Nobody always follows the same neighbour, whose leftovers (caches, TIME_WAIT) may cost something.
    private func rotated(by round: Int) -> [Peer] {
        guard !peers.isEmpty else { return [] }
        let first = round % peers.count
        return Array(peers[first...] + peers[..<first])
    }

    @discardableResult
    private mutating func attempt<Result>(_ peer: Peer, _ body: () throws -> Result) -> Result? {
        do {
            return try body()
        } catch {
            progress("\n\(peer.title) is left out from here on: \(error)")
            failures.append("\(peer.title): \(error)")
            peers.removeAll { $0 == peer }
            return nil
        }
    }
}
