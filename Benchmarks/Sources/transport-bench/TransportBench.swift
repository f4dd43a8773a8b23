import ArgumentParser

/// Serves, loads, and compares: the tool that proves what the library claims.
@main
struct TransportBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transport-bench",
        abstract: "Measures SwiftTransport beside SwiftNIO and hand-written C.",
        subcommands: [
            ServeCommand.self, LoadCommand.self, CompareCommand.self, MemoryCommand.self, SlowReadersCommand.self,
            MicroCommand.self, MicroWorkerCommand.self, ThresholdsCommand.self, DoctorCommand.self,
        ])
}
