import ArgumentParser
import Foundation
import SwiftTransport

/// Runs a server built on the library until it is told to stop.
struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Runs a service built on SwiftTransport until SIGINT or SIGTERM.",
        subcommands: [Echo.self, Flood.self])

    /// `serve echo`: sends back every byte it receives.
    struct Echo: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Sends back every byte.")

        @OptionGroup var place: ServePlace

        @Option(help: "Bytes from which on what was received is sent on without a copy; default the library's.")
        var shareThreshold: Int?

        func run() async throws {
            var options = LoopOptions()
            if let shareThreshold { options.shareThreshold = .bytes(shareThreshold) }
            try await place.serve(options, EchoService.start)
        }
    }

    /// `serve flood`: writes to whoever connects.
    struct Flood: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Writes to every connection as fast as it is writable, whether anybody reads or not.")

        @OptionGroup var place: ServePlace

        func run() async throws { try await place.serve(LoopOptions(), FloodService.start) }
    }
}

/// Where and on what a service runs.
struct ServePlace: ParsableArguments {
    @Option(help: "The TCP port to listen on; 0 lets the kernel choose.")
    var port: UInt16

    @Option(help: "The address or host name to listen on.")
    var host = "127.0.0.1"

    @Option(help: "Event loops; 0 means one for each processor.")
    var loops = 0

    @Option(help: "The engine: \(Engine.allCases.map(\.rawValue).joined(separator: ", ")).")
    var engine = Engine.automatic

    func validate() throws {
        guard loops >= 0 else { throw ValidationError("--loops must not be negative.") }
    }

    /// Starts a service, says so, and closes it with every connection when a signal comes.
    func serve(
        _ options: LoopOptions,
        _ start: (_ group: EventLoopGroup, _ host: String, _ port: UInt16) async throws -> ServerChannel
    ) async throws {
        // Before the server starts: a signal that comes early must not kill it half open.
        let stop = try StopSignal()
        var options = options
        options.engine = engine.choice
        let group = try EventLoopGroup(loops: loops == 0 ? EventLoopGroup.availableCores : loops, options: options)
        let server = try await start(group, host, port)
        print("ready port=\(server.localAddress.port) pid=\(getpid()) engine=\(group.loops[0].engine.rawValue)")
        fflush(nil)
        await stop.received()
        await group.shutdown(within: .seconds(1))
    }
}
