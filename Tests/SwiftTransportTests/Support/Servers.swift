import SwiftTransport
import Testing

/// The channels a server has accepted, in the order in which they came.
typealias Accepted = Watched<[Channel]>

/// Tells the test which channel was accepted.
final class Announcer: ChannelHandler {
    static let interests: ChannelEvents = [.active]
    private let accepted: Accepted
    init(_ accepted: Accepted) { self.accepted = accepted }

    func channelActive(_ context: ChannelContext) {
        let channel = context.channel
        accepted.update { $0.append(channel) }
        context.fireChannelActive()
    }
}

extension EventLoopGroup {
    /// A server whose channels the test can get hold of. The handlers see the channel become active before the test does.
    func serve(
        _ place: Place, _ options: ChannelOption...,
        handlers: @escaping @Sendable () -> sending [any ChannelHandler] = { [] }
    ) async throws -> (address: SocketAddress, accepted: Accepted, server: ServerChannel) {
        let accepted = Accepted([])
        var bootstrap = ServerBootstrap(group: self).childHandlers { handlers() + [Announcer(accepted)] }
        for option in options { bootstrap = bootstrap.childOptions(option) }
        let server = try await bootstrap.bind(to: place.freshAddress())
        return (server.localAddress, accepted, server)
    }

    /// A channel of ours and a raw socket at its other end.
    func connection(
        _ place: Place, _ options: ChannelOption..., peerReceiveBuffer: Int32? = nil,
        handlers: @escaping @Sendable () -> sending [any ChannelHandler] = { [] }
    ) async throws -> (channel: Channel, peer: RawSocket) {
        let accepted = Accepted([])
        var bootstrap = ServerBootstrap(group: self).childHandlers { handlers() + [Announcer(accepted)] }
        for option in options { bootstrap = bootstrap.childOptions(option) }
        let server = try await bootstrap.bind(to: place.freshAddress())
        let peer = try await blocking {
            try RawSocket.connect(to: server.localAddress, receiveBuffer: peerReceiveBuffer)
        }
        let channels = try await accepted.wait(for: "a connection") { !$0.isEmpty }
        server.close()
        return (channels[0], peer)
    }
}
