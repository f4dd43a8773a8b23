import ArgumentParser
import CLoad

/// Measures what an idle connection costs each server.
struct MemoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "memory",
        abstract: "Measures the user memory of idle connections, server by server.")

    @Option(help: "Connections to each server.")
    var connections = 15_000

    @Option(help: "Bytes echoed once on each connection.")
    var size: UInt32 = 64

    @Option(help: "The library's engine.")
    var engine = Engine.automatic

    @Option(help: "Measure only these, by comma: \(Peer.allCases.map(\.rawValue).joined(separator: ",")).")
    var only = PeerList.all

    func validate() throws {
        guard connections >= 2 else { throw ValidationError("--connections must be at least 2.") }
    }

    func run() throws {
        try DescriptorLimit.require(connections)
        var figures: [IdleMemory] = []
        var failures: [String] = []
        for peer in only.runnable {
            progress("\(peer.title) ...")
            do {
                figures.append(
                    try IdleMemory.measure(
                        peer, host: "127.0.0.1", engine: engine, connections: connections, messageBytes: size))
            } catch {
                failures.append("\(error)")
            }
        }
        print("idle connections: \(connections), one echo of \(size) B on each; anonymous memory of the server process")
        print(IdleMemory.table(figures).text)
        for failure in failures { print("FAILED: \(failure)") }
        if !failures.isEmpty { throw ExitCode.failure }
    }
}
