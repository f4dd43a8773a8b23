import Support
import SwiftTransport

/// Requests and answers in frames: a server made of handlers, and a client that is a task.
///
///     FramedProtocol server [port]           (default 7000)
///     FramedProtocol client [port] [count]   (default 10 requests, which do not wait for each other's answers)
@main
struct FramedProtocol {
    static func main() async {
        let arguments = CommandLine.arguments.dropFirst()
        guard let port = UInt16(arguments.dropFirst().first ?? "7000"), arguments.count < 4,
            let count = UInt32(arguments.dropFirst(2).first ?? "10"), ["server", "client"].contains(arguments.first)
        else { fail("usage: FramedProtocol server|client [port] [count]") }
        do {
            if arguments.first == "server" { try await serve(port: port) } else { try await ask(count, port: port) }
        } catch { fail(error) }
    }

    static func serve(port: UInt16) async throws {
        let stop = try StopSignal()
        let group = try EventLoopGroup()
        let server = try await ServerBootstrap(group: group)
            .childHandlers { [BackPressureHandler(), Capitals()] }
            .bind(host: "127.0.0.1", port: port)
        print("listening on \(server.localAddress)")
        await stop.received()
        await group.shutdown(within: .seconds(5))
    }

    /// One task asks, another reads the answers, which come in the order of the requests.
    static func ask(_ count: UInt32, port: UInt16) async throws {
        let group = try EventLoopGroup(loops: 1)
        try await ClientBootstrap(group: group).withConnection(host: "127.0.0.1", port: port) { connection in
            async let asked: Void = {
                for number in 0..<count { try await connection.send(Frames.frame(Buffer("request \(number)"))) }
            }()
            var frames = Frames()
            for _ in 0..<count { print(String(try await answer(on: connection, &frames))) }
            try await asked
        }
        await group.shutdown()
    }

    /// The next answer. After five seconds of silence an empty request, which has an empty answer, asks whether anybody is there.
    static func answer(on connection: Connection, _ frames: inout Frames) async throws -> Buffer {
        var hasAsked = false
        while true {
            while let frame = try frames.next() { if !frame.isEmpty { return frame } }
            do {
                guard let piece = try await connection.read(within: .seconds(5)) else {
                    throw TransportError(.connectionLost)
                }
                frames.append(piece)
                hasAsked = false
            } catch let error as TransportError where error.code == .timedOut && !hasAsked {
                hasAsked = true
                try await connection.send(Frames.frame(Buffer()))
            }
        }
    }
}

/// Answers each request in capitals, and lets go of who has said nothing for a minute.
final class Capitals: ChannelHandler {
    static let interests: ChannelEvents = [.active, .read, .readComplete]
    private var frames = Frames()
    private var wasHeard = false

    func channelActive(_ context: ChannelContext) { listen(context) }
    private func listen(_ context: ChannelContext) {
        context.schedule(after: .seconds(60)) { [self] context in
            guard wasHeard else { return context.close() }
            wasHeard = false
            listen(context)
        }
    }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        wasHeard = true
        frames.append(Buffer(bytes))
        do {
            while let request = try frames.next() { context.write(Frames.frame(Buffer(String(request).uppercased()))) }
        } catch { context.close(.reset) }
    }

    func channelReadComplete(_ context: ChannelContext) { context.flush() }
}

/// Cuts a stream into frames: four bytes of length, in network byte order, and the content. A handler and a task can both use it.
struct Frames {
    struct TooLong: Error { var length: Int }
    static let longest = 64 * 1024
    private var input: [UInt8] = []
    private var start = 0

    mutating func append(_ piece: Buffer) {
        input.removeFirst(start)
        start = 0
        input += [UInt8](piece)
    }

    /// The content of the next frame; `nil` when not all of it is there yet.
    mutating func next() throws(TooLong) -> Buffer? {
        guard input.count - start >= 4 else { return nil }
        let length = input[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
        guard length <= Self.longest else { throw TooLong(length: length) }  // a peer may say anything
        guard input.count - start >= 4 + length else { return nil }
        defer { start += 4 + length }
        return Buffer(Array(input[start + 4..<start + 4 + length]))
    }

    static func frame(_ content: Buffer) -> Buffer {
        Buffer(capacity: 4 + content.count) { output in
            output.append(UInt32(content.count).bigEndian, as: UInt32.self)
            output.append(content)
        }
    }
}
