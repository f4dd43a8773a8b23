import SwiftTransport

/// The echo server under test, built on the library's public API as a user would build it.
enum EchoService {
    /// Binds, and serves from then on.
    static func start(_ group: EventLoopGroup, host: String, port: UInt16) async throws -> ServerChannel {
        try await ServerBootstrap(group: group)
            // Room for one message of a megabyte; beyond it reading pauses.
            .childOptions(.waterMark(low: .kibibytes(512), high: .mebibytes(1)))
            .childHandlers { [EchoHandler()] }
            .bind(host: host, port: port)
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
