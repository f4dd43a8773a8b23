import Support
import SwiftTransport

/// Sends back every byte, with callbacks on the event loop: nothing is allocated per message.
///
///     EchoServer [port]       (default 7000; try it with EchoClient, or with `nc 127.0.0.1 7000`)
@main
struct EchoServer {
    static func main() async {
        let arguments = CommandLine.arguments.dropFirst()
        guard let port = UInt16(arguments.first ?? "7000"), arguments.count < 2 else {
            fail("usage: EchoServer [port]")
        }
        do {
            let stop = try StopSignal()  // before anything that must be closed properly
            let group = try EventLoopGroup()  // a loop per core, each accepting for itself
            let server = try await ServerBootstrap(group: group)
                .childHandlers { [BackPressureHandler(), Echo()] }
                .bind(host: "127.0.0.1", port: port)
            print("listening on \(server.localAddress)")
            print(group.report)

            await stop.received()
            let report = await group.shutdown(within: .seconds(5))  // what is queued is still sent
            print("stopped; \(report.channelsCutOff) connections had to be cut off")
        } catch {
            fail(error)
        }
    }
}

/// One per connection. Events go from the network to the first handler, and from there to the next.
final class Echo: ChannelHandler {
    /// Whatever is not named here passes this handler by, at no cost.
    static let interests: ChannelEvents = [.read, .readComplete]

    /// The bytes are lent for the length of the call; `write` keeps what it needs.
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        context.write(bytes)
    }

    /// No more in this turn of the loop: all its writes leave in one system call.
    func channelReadComplete(_ context: ChannelContext) {
        context.flush()
    }
}
