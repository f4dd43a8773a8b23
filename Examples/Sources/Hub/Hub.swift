import Support
import SwiftTransport

/// A chat: what one member says, all the others hear.
///
///     Hub [port]       (default 7000; join it with `nc 127.0.0.1 7000`, from several terminals)
@main
struct Hub {
    static func main() async {
        let arguments = CommandLine.arguments.dropFirst()
        guard let port = UInt16(arguments.first ?? "7000"), arguments.count < 2 else {
            fail("usage: Hub [port]")
        }
        do {
            let stop = try StopSignal()  // before anything that must be closed properly
            let group = try EventLoopGroup()
            let room = ChannelGroup()
            let server = try await ServerBootstrap(group: group)
                .childHandlers { [Lines(), Member(of: room)] }
                .bind(host: "127.0.0.1", port: port)
            print("listening on \(server.localAddress)")

            await stop.received()
            room.writeAndFlush("* the hub closes\n")  // sent before the connections end
            let report = await group.shutdown(within: .seconds(5))
            print("stopped; \(report.channelsCutOff) connections had to be cut off")
        } catch {
            fail(error)
        }
    }
}

/// Makes lines of pieces: a stream has no messages, so a piece may end in the middle of a line or hold twenty of them.
final class Lines: ChannelHandler {
    static let interests: ChannelEvents = [.read]
    static let longest = 1024
    private var begun: [UInt8] = []

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        begun.append(contentsOf: bytes)
        let lines = begun.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        begun = Array(lines.last ?? [])
        for line in lines.dropLast() where line.count <= Self.longest { context.fireChannelRead(Buffer(Array(line))) }
        // Whoever never ends a line shall not fill our memory.
        if begun.count > Self.longest { context.close(.reset) }
    }
}

/// One in the room. Members may be on different loops: the room is what they share, and it looks after that.
final class Member: ChannelHandler {
    static let interests: ChannelEvents = [.active, .read, .readComplete, .writabilityChanged, .inactive]
    private let room: ChannelGroup
    private var name = "?"
    private var isBehind = false

    init(of room: ChannelGroup) {
        self.room = room
    }

    func channelActive(_ context: ChannelContext) {
        name = context.remoteAddress?.description ?? name
        say("* \(name) is here\n", besides: context.channel)
        room.flush()
        room.add(context.channel)  // and leaves by itself when the channel closes
        context.writeAndFlush("* there are \(room.count) of you\n")
    }

    func channelRead(_ context: ChannelContext, _ line: ReadBytes) {
        say("\(name): \(String(line))\n", besides: context.channel)
    }

    /// However many lines came in one turn: they leave together.
    func channelReadComplete(_ context: ChannelContext) {
        room.flush()
    }

    func channelInactive(_ context: ChannelContext) {
        say("* \(name) has left\n", besides: context.channel)
        room.flush()
    }

    /// Nobody waits for a member that does not read: it misses lines until its queue is short again, and is told.
    func channelWritabilityChanged(_ context: ChannelContext) {
        let wasBehind = isBehind
        isBehind = !context.channel.isWritable
        if wasBehind, !isBehind { context.writeAndFlush("* you read too slowly and may have missed something\n") }
    }

    private func say(_ text: String, besides speaker: Channel) {
        room.write(Buffer(text), where: { $0 !== speaker && $0.isWritable })  // asked on the loop of each
    }
}
