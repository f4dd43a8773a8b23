import Support
import SwiftTransport

/// Sends lines to an echo server and prints what comes back, with async/await.
///
///     EchoClient [port] [pings]       (default 7000; without `pings` it sends the lines of standard input)
@main
struct EchoClient {
    static func main() async {
        let arguments = CommandLine.arguments.dropFirst()
        let pings = arguments.count == 2 ? UInt(arguments.last ?? "") : nil
        guard let port = UInt16(arguments.first ?? "7000"), arguments.count < 2 || pings != nil else {
            fail("usage: EchoClient [port] [pings]")
        }
        do {
            try await talk(port: port, Lines(pings: pings))
        } catch {
            fail(error)
        }
    }

    /// Connects, and closes when the conversation is over or a signal comes.
    static func talk(port: UInt16, _ lines: Lines) async throws {
        let stop = try StopSignal()
        let group = try EventLoopGroup(loops: 1)
        let connection = try await ClientBootstrap(group: group)
            .connectTimeout(.seconds(5))
            .open(host: "127.0.0.1", port: port)

        let (endings, ending) = AsyncStream.makeStream(of: Result<Void, any Error>.self)
        // On the connection's own loop, where reading and writing change no threads.
        Task(executorPreference: connection.channel.eventLoop.taskExecutor) {
            do {
                try await converse(over: connection, lines)
                ending.yield(.success(()))
            } catch {
                ending.yield(.failure(error))
            }
        }
        Task {
            await stop.received()
            ending.yield(.success(()))
        }
        var ended = endings.makeAsyncIterator()
        let outcome = await ended.next()

        await connection.close()
        await group.shutdown(within: .seconds(1))
        try outcome?.get()
    }

    /// Sends line after line and waits for the echo of each.
    static func converse(over connection: Connection, _ lines: Lines) async throws {
        var lines = lines
        var replies = connection.inbound.makeAsyncIterator()
        while let line = await lines.next() {
            let request = Buffer(line + "\n")
            let start = ContinuousClock.now
            try await connection.send(request)

            // A stream has no messages: the echo may come in pieces.
            var reply: [UInt8] = []
            while reply.count < request.count {
                guard let piece = try await replies.next() else { return print("the server closed the connection") }
                reply += [UInt8](piece)
            }
            print("\(ContinuousClock.now - start): \(String(decoding: reply.dropLast(), as: UTF8.self))")
        }
    }
}
