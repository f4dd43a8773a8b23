import ArgumentParser
import Foundation

/// Loads one server, whichever it is, and prints what it achieved.
struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Loads a TCP echo server and checks every echoed byte.",
        discussion: """
            Without --rate the loop is closed: every answer starts the next message. With --rate messages are due at \
            fixed times and latency counts from those times, so that a stalled server is charged for the messages \
            that had to wait (coordinated omission).
            """)

    @Option(help: "The server's address or host name.")
    var host = "127.0.0.1"

    @Option(help: "The server's TCP port.")
    var port: UInt16

    @Option(help: "Connections.")
    var connections: UInt32 = 64

    @Option(help: "Bytes in a message.")
    var size: UInt32 = 64

    @Option(help: "Messages in flight on each connection.")
    var depth: UInt32 = 1

    @Option(help: "Seconds to measure, after half a second of warm-up.")
    var seconds = 5.0

    @Option(help: "Messages a second over all connections; without it the loop is closed.")
    var rate: Double?

    @Option(help: "A file for the result as JSON.")
    var json: String?

    func validate() throws {
        guard connections > 0, size > 0, depth > 0 else {
            throw ValidationError("--connections, --size and --depth must be at least 1.")
        }
        guard seconds > 0, seconds <= 86_400 else { throw ValidationError("--seconds must be above 0, a day at most.") }
        if let rate, !(rate > 0 && rate <= 1e8) { throw ValidationError("--rate must be above 0.") }
    }

    func run() throws {
        let load = Load(connections: connections, messageBytes: size, depth: depth, rate: rate)
        let result = try load.run(
            host: host, port: port, warmUp: .milliseconds(500), measured: .seconds(seconds))

        print(
            "\(connections) connections x \(size) B x depth \(depth), \(seconds.formatted(decimals: 1)) s, "
                + (rate.map { "open loop at \($0.formatted(decimals: 0)) messages/s" } ?? "closed loop")
                + ", every byte checked")
        var table = Table(header: ["messages/s", "MB/s", "p50 us", "p90", "p99", "p99.9", "p99.99", "max"])
        let latency = result.latency
        table.add(
            [result.messagesPerSecond.formatted(decimals: 0), result.megabytesPerSecond.formatted(decimals: 1)]
                + [latency.p50, latency.p90, latency.p99, latency.p999, latency.p9999, latency.max]
                .map { ($0 / 1000).formatted(decimals: 1) })
        print(table.text)
        if let json { try JSONFile.write(Report(load: load, result: result), to: json) }
    }

    private struct Report: Encodable {
        var load: Load
        var result: LoadResult
    }
}
