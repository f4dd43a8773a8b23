import ArgumentParser

/// Measures from which size on it is cheaper not to copy: what the defaults of `copyLimit` and `shareThreshold` rest on.
struct ThresholdsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "thresholds",
        abstract: "Measures from which size on writes are cheaper without a copy.")

    @Option(help: "Rounds.")
    var rounds = 7

    @Option(help: "Seconds a round measures each size and way.")
    var seconds = 0.4

    @Option(help: "The library's engine.")
    var engine = Engine.automatic

    func validate() throws {
        try MicroRun.validate(rounds: rounds, seconds: seconds)
    }

    func run() async throws {
        let owned = try await OwnedSweep.run(rounds: rounds, duration: .seconds(seconds), engine: engine)
        print(
            """
            Owned buffers, \(OwnedSweep.batch) a flush over one connection: CPU of the loop's thread for a write, user and \
            kernel (copyLimit)

            \(owned.text("copied", "gathered"))

            """)
        let lent = try LentSweep.run(rounds: rounds, duration: .seconds(seconds), engine: engine)
        print(
            """
            Received bytes sent back, \(LentSweep.connections) connections, one message each: CPU of the server for a message \
            (shareThreshold)

            \(lent.text("copied", "shared"))
            """)
    }
}

/// What two ways of doing the same cost at each size, in nanoseconds: one pair a round.
struct Sweep {
    private var costs: [Int: [(first: Double, second: Double)]] = [:]

    mutating func add(_ size: Int, _ first: Double, _ second: Double) {
        costs[size, default: []].append((first, second))
    }

    /// Medians, and the median of the rounds' ratios: what disturbs a round disturbs both.
    func text(_ first: String, _ second: String) -> String {
        var table = Table(header: ["bytes", "\(first) ns", "\(second) ns", "\(second) / \(first)"])
        for (size, rounds) in costs.sorted(by: { $0.key < $1.key }) {
            table.add([
                "\(size)", optional(median(rounds.map(\.first)), decimals: 0),
                optional(median(rounds.map(\.second)), decimals: 0),
                optional(median(rounds.map { $0.second / $0.first }), decimals: 3),
            ])
        }
        return table.text
    }
}
