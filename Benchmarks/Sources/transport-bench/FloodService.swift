import SwiftTransport

/// A server that writes as fast as its channels are writable, whether anybody reads or not.
enum FloodService {
    /// Binds, and writes to whoever connects from then on.
    static func start(_ group: EventLoopGroup, host: String, port: UInt16) async throws -> ServerChannel {
        let payload = Buffer([UInt8](repeating: 7, count: SlowReaders.writeBytes))
        return try await ServerBootstrap(group: group)
            .childOptions(.waterMark(SlowReaders.mark))
            .childHandlers { [FloodHandler(payload)] }
            .bind(host: host, port: port)
    }
}

/// Writes until the channel is not writable, and again when it is.
private final class FloodHandler: ChannelHandler {
    static let interests: ChannelEvents = [.active, .writabilityChanged]
    private let payload: Buffer
    init(_ payload: Buffer) { self.payload = payload }

    func channelActive(_ context: ChannelContext) { fill(context) }
    func channelWritabilityChanged(_ context: ChannelContext) { fill(context) }

    private func fill(_ context: ChannelContext) {
        while context.channel.isWritable { context.write(payload) }
        context.flush()
    }
}
