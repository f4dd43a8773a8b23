import ArgumentParser

/// Measures all servers side by side.
struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Compares SwiftTransport with SwiftNIO and hand-written C in one run.")

    @Flag(help: "End within two minutes: fewer and shorter rounds, no open loop.")
    var quick = false

    @Option(help: "A file for all measurements as JSON.")
    var json: String?

    @Option(help: "The library's engine.")
    var engine = Engine.automatic

    @Option(help: "Measure only these, by comma: \(Peer.allCases.map(\.rawValue).joined(separator: ",")).")
    var only = PeerList.all

    func run() throws {
        let plan =
            quick
            ? ComparisonPlan.quick(peers: only.runnable, engine: engine)
            : ComparisonPlan.full(peers: only.runnable, engine: engine)
        try DescriptorLimit.require(plan.idleConnections)

        var comparison = Comparison(plan: plan)
        comparison.run()
        let report = ComparisonReport(comparison)
        print(report.text)
        if let json { try JSONFile.write(ComparisonRecord(report), to: json) }
        if !comparison.failures.isEmpty { throw ExitCode.failure }
    }
}
