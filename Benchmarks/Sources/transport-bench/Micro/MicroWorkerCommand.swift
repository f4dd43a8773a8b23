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

    /// Sizes to write, each copied and gathered, instead of measuring everything.
    @Option(parsing: .upToNextOption) var sizes: [Int] = []

    func run() async throws {
        if !sizes.isEmpty { return try await sweep() }
        let stage = try stage()
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
        await stage.end()
    }

    private func sweep() async throws {
        let copying = try stage(copyLimit: .mebibytes(1))
        let gathering = try stage(copyLimit: 0)
        for size in sizes {
            for (way, stage) in [(OwnedSweep.copied, copying), (OwnedSweep.gathered, gathering)] {
                var figure = try await WriteCost.measure(batch: OwnedSweep.batch, bytes: size, on: stage)
                figure.name = OwnedSweep.name(way, size)
                print(figure.line)
            }
        }
        await copying.end()
        await gathering.end()
    }

    private func stage(copyLimit: ByteCount? = nil) throws -> MicroStage {
        try MicroStage(
            drain: SocketAddress(host: "127.0.0.1", port: port), duration: .seconds(seconds), engine: engine,
            processors: processors, copyLimit: copyLimit)
    }
}
