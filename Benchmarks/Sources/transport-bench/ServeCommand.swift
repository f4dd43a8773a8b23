import ArgumentParser
import Foundation
import SwiftTransport

/// Runs a server built on the library until it is told to stop.
struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Runs a service built on SwiftTransport until SIGINT or SIGTERM.",
        subcommands: [Echo.self])

    /// `serve echo`: sends back every byte it receives.
    struct Echo: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Sends back every byte.")

        @Option(help: "The TCP port to listen on; 0 lets the kernel choose.")
        var port: UInt16

        @Option(help: "The address or host name to listen on.")
        var host = "127.0.0.1"

        @Option(help: "Event loops; 0 means one for each processor.")
        var loops = 0

        @Option(help: "The engine: \(Engine.allCases.map(\.rawValue).joined(separator: ", ")).")
        var engine = Engine.automatic

        @Option(help: "Bytes from which on what was received is sent on without a copy; default the library's.")
        var shareThreshold: Int?

        func validate() throws {
            guard loops >= 0 else { throw ValidationError("--loops must not be negative.") }
        }

        func run() async throws {
            // Before the server starts: a signal that comes early must not kill it half open.
            let stop = StopSignal()
            let service = try await EchoService.start(host: host, port: port, loops: loops, options: options)
            print("ready port=\(service.port) pid=\(getpid()) engine=\(service.engineName)")
            fflush(nil)
            await stop.received()
            try await service.stop()
        }

        private var options: LoopOptions {
            var options = LoopOptions()
            options.engine = engine.choice
            if let shareThreshold { options.shareThreshold = .bytes(shareThreshold) }
            return options
        }
    }
}
