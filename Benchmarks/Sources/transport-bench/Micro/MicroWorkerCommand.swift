import ArgumentParser
import MicroKit
import SwiftTransport

/// What `micro` starts to measure the library, in a process of its own as the peers are.
struct MicroWorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "micro-worker", shouldDisplay: false)

    @Argument var port: UInt16
    @Argument var seconds: Double
    @Option var engine = Engine.automatic
    @Option(parsing: .upToNextOption) var processors: [Int] = []

    func run() async throws {
        let stage = try MicroStage(
            drain: SocketAddress(host: "127.0.0.1", port: port), duration: .seconds(seconds), engine: engine,
            processors: processors)
        var figures = [
            try await WriteCost.measure(batch: 32, on: stage),
            try await WriteCost.measure(batch: 1, on: stage),
            try await SendCost.measure(on: stage),
            try await HopCost.measure(on: stage),
            try await TimerCost.measure(on: stage),
        ]
        figures += try await ExecuteCost.stream(on: stage)
        figures.append(try await ExecuteCost.pingPong(on: stage))
        for figure in figures { print(figure.line) }
        await stage.measured.shutdown(within: .seconds(1))
        await stage.other.shutdown(within: .seconds(1))
    }
}
