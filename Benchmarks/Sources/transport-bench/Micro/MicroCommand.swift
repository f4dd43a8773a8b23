import ArgumentParser
import SwiftTransport

/// Measures what single operations of the library cost.
struct MicroCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "micro",
        abstract: "Measures single operations: a write, a handler, a timer, a closure for another thread.")

    @Option(help: "Rounds.")
    var rounds = 5

    @Option(help: "Seconds a round measures each kind of write.")
    var seconds = 1.0

    @Option(help: "The library's engine.")
    var engine = Engine.automatic

    @Option(help: "A file for the result as JSON.")
    var json: String?

    func validate() throws {
        try MicroRun.validate(rounds: rounds, seconds: seconds)
    }

    func run() async throws {
        let run = MicroRun(rounds: rounds, duration: .seconds(seconds), engine: engine)
        let report = MicroReport(run: run, costs: try await run.costs())
        print(report.text)
        guard let json else { return }
        try JSONFile.write(Record(machine: SwiftTransport.Engine.report, rounds: rounds, costs: report.costs), to: json)
    }

    private struct Record: Encodable {
        var machine: String
        var rounds: Int
        var costs: [MicroCost]
    }
}
