import SwiftTransport

/// The echo server under test, built on the library's public API as a user would build it.
struct EchoService {
    private let group: EventLoopGroup
    private let server: ServerChannel

    /// The port that was bound.
    var port: UInt16 { server.localAddress.port }
    /// The engine that was chosen.
    var engineName: String { group.loops[0].engine.rawValue }

    /// Binds, and serves from then on.
    static func start(host: String, port: UInt16, loops: Int, options: LoopOptions) async throws -> EchoService {
        let group = try EventLoopGroup(loops: loops == 0 ? EventLoopGroup.availableCores : loops, options: options)
        let server = try await ServerBootstrap(group: group)
            // Room for one message of a megabyte; beyond it reading pauses.
            .childOptions(.waterMark(low: .kibibytes(512), high: .mebibytes(1)))
            .childHandlers { [EchoHandler()] }
            .bind(host: host, port: port)
        return EchoService(group: group, server: server)
    }

    /// Closes the listener and every connection.
    func stop() async throws {
        await group.shutdown(within: .seconds(1))
    }
}

/// Sends back what came, at the end of the turn; reads no more while the peer does not.
final class EchoHandler: ChannelHandler {
    static let interests: ChannelEvents = [.read, .readComplete, .writabilityChanged]
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.write(bytes) }
    func channelReadComplete(_ context: ChannelContext) { context.flush() }
    func channelWritabilityChanged(_ context: ChannelContext) {
        context.channel.setAutomaticReading(context.channel.isWritable)
    }
}
