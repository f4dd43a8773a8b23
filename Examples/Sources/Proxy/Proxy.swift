import Support
import SwiftTransport

/// Passes connections on to another server: bytes, back pressure, ends and resets, in both directions.
///
///     Proxy --to host:port [port]       (default port 7000; try `Proxy --to 127.0.0.1:6379` and `redis-cli -p 7000`)
@main
struct Proxy {
    static func main() async {
        let arguments = Array(CommandLine.arguments.dropFirst())
        guard (2...3).contains(arguments.count), arguments[0] == "--to", let colon = arguments[1].lastIndex(of: ":"),
            let targetPort = UInt16(arguments[1][arguments[1].index(after: colon)...]),
            let port = UInt16(arguments.count == 3 ? arguments[2] : "7000")
        else { fail("usage: Proxy --to host:port [port]") }
        let target = String(arguments[1][..<colon])
        do {
            let stop = try StopSignal()
            let group = try EventLoopGroup()
            let outgoing = ClientBootstrap(group: group)
                .options(.allowHalfClosure(true))
                .connectTimeout(.seconds(5))
            let server = try await ServerBootstrap(group: group)
                .childOptions(.allowHalfClosure(true))
                .childHandlers { [Dial(to: target, targetPort, outgoing)] }
                .bind(host: "127.0.0.1", port: port)
            print("listening on \(server.localAddress)")

            await stop.received()
            let report = await group.shutdown(within: .seconds(10))  // connections may end by themselves
            print("stopped; \(report.channelsCutOff) connections had to be cut off")
        } catch {
            fail(error)
        }
    }
}

/// Connects an accepted client to the server, and reads nothing from it before that is done.
final class Dial: ChannelHandler {
    static let interests: ChannelEvents = [.active]
    static let waiting = 1
    private let host: String
    private let port: UInt16
    private let outgoing: ClientBootstrap

    init(to host: String, _ port: UInt16, _ outgoing: ClientBootstrap) {
        self.host = host
        self.port = port
        self.outgoing = outgoing
    }

    func channelActive(_ context: ChannelContext) {
        let client = context.channel
        client.setReading(false, flag: Self.waiting)
        // On the client's loop, so the other connection is there too, and neither needs a lock.
        Task(executorPreference: context.eventLoop.taskExecutor) { [host, port, outgoing] in
            do {
                let server = try await outgoing.handlers { [Relay(to: client)] }.connect(host: host, port: port)
                guard client.pipeline.addLast(Relay(to: server)) else { return server.close(.reset) }  // gone meanwhile
                client.setReading(true, flag: Dial.waiting)
            } catch {
                print(error)
                client.close(.reset)
            }
        }
    }
}

/// What comes in on its channel goes out on the other one. Each connection of a pair has one.
final class Relay: ChannelHandler {
    static let interests: ChannelEvents = [
        .read, .readComplete, .writabilityChanged, .inputClosed, .userEvent, .inactive, .shutdown,
    ]
    static let full = 2
    private let other: Channel
    private var inputEnded = false
    private var outputEnded = false

    init(to other: Channel) {
        self.other = other
    }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { other.write(bytes) }
    func channelReadComplete(_ context: ChannelContext) { other.flush() }

    /// Who does not take what is for it holds up who sends it.
    func channelWritabilityChanged(_ context: ChannelContext) {
        other.setReading(context.channel.isWritable, flag: Self.full)
    }

    /// One direction has ended; the other goes on.
    func inputClosed(_ context: ChannelContext) {
        inputEnded = true
        other.shutdownOutput()
        closeWhenBothEnded(context)
    }

    func userEvent(_ context: ChannelContext, _ event: any Sendable) {
        guard event as? ChannelNotice == .outputShutDown else { return }
        outputEnded = true
        closeWhenBothEnded(context)
    }

    private func closeWhenBothEnded(_ context: ChannelContext) {
        if inputEnded, outputEnded { context.close() }
    }

    /// Ended in any other way, a reset for one: the other side must not take what it has for the whole.
    func channelInactive(_ context: ChannelContext) {
        if !(inputEnded && outputEnded) { other.close(.reset) }
    }

    /// Whoever is connected may finish. Passing this on would close the channel.
    func shutdownBegan(_ context: ChannelContext) {}
}
