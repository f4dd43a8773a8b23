import ArgumentParser

/// Measures what connections cost that never read.
struct SlowReadersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "slow-readers",
        abstract: "Measures the memory of a server that writes to connections that never read.")

    @Option(help: "Connections.")
    var connections = 1000

    @Option(help: "The library's engine.")
    var engine = Engine.automatic

    func validate() throws {
        guard connections >= 1 else { throw ValidationError("--connections must be at least 1.") }
    }

    func run() throws {
        try DescriptorLimit.require(connections)
        let figure = try SlowReaders.measure(host: "127.0.0.1", engine: engine, connections: connections)
        print(
            """
            \(connections) connections that never read, written to \(SlowReaders.writeBytes) B at a time while isWritable; \
            anonymous memory of the server
            before: \(figure.bytesBefore / 1024) KiB, when nobody takes any more: \(figure.bytesFull / 1024) KiB

            \(figure.table.text)
            """)
    }
}
