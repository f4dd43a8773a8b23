import MicroKit

/// Buffers of the application, copied behind each other or gathered from where they are.
enum OwnedSweep {
    static let batch: UInt64 = 32
    static let (copied, gathered) = ("copied", "gathered")
    private static let sizes = [64, 128, 256, 512, 1024, 1536, 2048, 3072, 4080]

    static func name(_ way: String, _ size: Int) -> String { "\(way)-\(size)" }

    static func run(rounds: Int, duration: Duration, engine: Engine) async throws -> Sweep {
        let processors = Array(Pinning.processors.prefix(2))
        let drain = try await Drain.start(processor: processors.last)
        var sweep = Sweep()
        for round in 1...rounds {
            progress("[\(round)/\(rounds)] owned buffers ...")
            let figures = try MicroProcess.ownFigures(
                drain.port, duration, engine, processors, sizes: sizes, counting: false)
            for size in sizes {
                guard let first = cost(name(copied, size), figures), let second = cost(name(gathered, size), figures)
                else { throw BenchError("writes of \(size) bytes were not measured") }
                sweep.add(size, first, second)
            }
        }
        await drain.stop()
        return sweep
    }

    private static func cost(_ name: String, _ figures: [MicroFigure]) -> Double? {
        figures.first { $0.name == name }.map { Double($0.cpu) / Double(max(1, $0.operations)) }
    }
}
