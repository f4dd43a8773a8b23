/// How much a comparison measures.
struct ComparisonPlan: Sendable {
    var peers: [Peer]
    var scenarios: [Scenario]
    var rounds: Int
    var warmUp: Duration
    var measured: Duration
    var idleConnections: Int
    var engine: Engine
    var host = "127.0.0.1"

    /// Ends within two minutes.
    static func quick(peers: [Peer], engine: Engine) -> ComparisonPlan {
        ComparisonPlan(
            peers: peers, scenarios: [.manySmall, .single, .bulk], rounds: 5,
            warmUp: .milliseconds(250), measured: .milliseconds(1100), idleConnections: 15_000, engine: engine)
    }

    /// About six minutes.
    static func full(peers: [Peer], engine: Engine) -> ComparisonPlan {
        ComparisonPlan(
            peers: peers, scenarios: [.manySmall, .single, .bulk, .offered], rounds: 9,
            warmUp: .milliseconds(300), measured: .milliseconds(1900), idleConnections: 15_000, engine: engine)
    }
}
