/// Received bytes sent back, copied or from the receive memory itself: an echo server with either threshold.
enum LentSweep {
    static let connections: UInt32 = 64
    private static let sizes: [UInt32] = [256, 512, 1024, 2048, 4080, 8192, 16_384]

    static func run(rounds: Int, duration: Duration, engine: Engine) throws -> Sweep {
        var sweep = Sweep()
        let pinning = Pinning()
        var plan = ComparisonPlan.quick(peers: [.swiftTransport], engine: engine)
        plan.measured = duration
        for round in 1...rounds {
            progress("[\(round)/\(rounds)] received bytes ...")
            for size in sizes {
                let load = Load(connections: connections, messageBytes: size, depth: 1)
                let scenario = Scenario(name: "\(size)", title: "\(size) B", load: load)
                func cost(threshold: Int) throws -> Double {
                    try Measurement.take(
                        .swiftTransport, scenario, round: round, plan: plan, pinning: pinning,
                        extra: ["--share-threshold", "\(threshold)"]
                    ).cpuNanosecondsPerMessage
                }
                // Who is first changes with every round.
                if round.isMultiple(of: 2) {
                    let shared = try cost(threshold: 1)
                    sweep.add(Int(size), try cost(threshold: .max), shared)
                } else {
                    let copied = try cost(threshold: .max)
                    sweep.add(Int(size), copied, try cost(threshold: 1))
                }
            }
        }
        return sweep
    }
}
