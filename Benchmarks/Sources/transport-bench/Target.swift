/// A promise the library makes, and what this run says about it.
struct Target: Codable {
    var what: String
    var target: String
    var measured: String
    var isMet: Bool

    /// The promises that these results cover.
    static func all(scenarios: [ScenarioResult], memory: [IdleMemory]) -> [Target] {
        var targets: [Target] = []
        let subject = Peer.swiftTransport
        func add(
            _ scenario: Scenario, _ what: String, atMost limit: Double, _ unit: String,
            _ value: (ScenarioResult) -> Double?
        ) {
            guard let value = scenarios.first(where: { $0.scenario.name == scenario.name }).flatMap(value) else {
                return
            }
            targets.append(Target(what, "at most", limit, unit, value, isMet: value <= limit))
        }
        add(.manySmall, "server CPU per message, 64 connections x 64 B", atMost: 1.10, "x better C") {
            $0.ratioToBetterC(.cpu, of: subject)
        }
        add(.manySmall, "user time per message, same run", atMost: 0.35, "x SwiftNIO") {
            $0.ratio(.user, of: subject, to: .nio)
        }
        add(.single, "p50 round trip, 1 connection x 64 B", atMost: 1.05, "x better C") {
            $0.ratioToBetterC(.p50, of: subject)
        }
        if let value = scenarios.first(where: { $0.scenario.name == Scenario.bulk.name })?
            .ratioToBetterC(.megabytesPerSecond, of: subject)
        {
            targets.append(
                Target(
                    "64 connections x 16 KiB x depth 4, MB/s", "at least", 0.95, "x better C", value,
                    isMet: value >= 0.95))
        }
        if let figure = memory.first(where: { $0.peer == subject }) {
            let value = figure.perConnectionAfterEcho
            targets.append(
                Target(
                    what: "user memory per idle connection after one echo", target: "at most 512 B",
                    measured: "\(value.formatted(decimals: 0)) B", isMet: value <= 512))
        }
        return targets
    }

    private init(_ what: String, _ relation: String, _ limit: Double, _ unit: String, _ value: Double, isMet: Bool) {
        self.init(
            what: what, target: "\(relation) \(limit.formatted(decimals: 2)) \(unit)",
            measured: value.formatted(decimals: 3), isMet: isMet)
    }

    private init(what: String, target: String, measured: String, isMet: Bool) {
        self.what = what
        self.target = target
        self.measured = measured
        self.isMet = isMet
    }
}
