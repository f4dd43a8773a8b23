/// All rounds of one scenario, seen together.
struct ScenarioResult {
    let scenario: Scenario
    /// Below this many samples a user time is too uncertain to divide by; the C peers usually stay below.
    private static let fewestSamples: UInt64 = 50

    /// By peer and in order of rounds.
    private let rounds: [Peer: [Measurement]]

    init(_ scenario: Scenario, _ measurements: [Measurement]) {
        self.scenario = scenario
        rounds = Dictionary(grouping: measurements.filter { $0.scenario == scenario.name }, by: \.peer)
    }

    var peers: [Peer] { Peer.allCases.filter { rounds[$0] != nil } }

    /// The part of the CPU time spent in user mode, from the samples of all rounds together.
    func userShare(of peer: Peer) -> Double? {
        guard let measurements = rounds[peer] else { return nil }
        let user = measurements.reduce(0) { $0 + $1.userTicks }
        let all = measurements.reduce(0) { $0 + $1.userTicks + $1.systemTicks }
        return all == 0 ? nil : Double(user) / Double(all)
    }

    /// The median over rounds.
    func median(_ metric: Metric, of peer: Peer) -> Double? {
        if metric == .user {
            guard let share = userShare(of: peer), let cpu = median(.cpu, of: peer) else { return nil }
            return share * cpu
        }
        return transport_bench.median((rounds[peer] ?? []).compactMap(metric.value))
    }

    /// The median of the ratios within each round; for user time the ratio of the sums.
    func ratio(_ metric: Metric, of peer: Peer, to other: Peer) -> Double? {
        if metric == .user {
            let samples = (rounds[other] ?? []).reduce(0) { $0 + $1.userTicks }
            guard samples >= Self.fewestSamples, let value = median(.user, of: peer),
                let base = median(.user, of: other)
            else { return nil }
            return value / base
        }
        let bases = Dictionary((rounds[other] ?? []).map { ($0.round, $0) }, uniquingKeysWith: { first, _ in first })
        let ratios = (rounds[peer] ?? []).compactMap { measurement -> Double? in
            guard let value = metric.value(measurement), let base = bases[measurement.round].flatMap(metric.value),
                base > 0
            else { return nil }
            return value / base
        }
        return transport_bench.median(ratios)
    }

    /// The C peer with the better median. Chosen once for all rounds: the better one of each round would be the
    /// luckier one of each round.
    func betterC(_ metric: Metric) -> Peer? {
        // User time alone does not say who is better.
        let metric = metric == .user ? .cpu : metric
        let candidates = peers.filter(\.isC).compactMap { peer in median(metric, of: peer).map { (peer, $0) } }
        return candidates.min { metric.higherIsBetter ? $0.1 > $1.1 : $0.1 < $1.1 }?.0
    }

    func ratioToBetterC(_ metric: Metric, of peer: Peer) -> Double? {
        betterC(metric).flatMap { ratio(metric, of: peer, to: $0) }
    }
}
