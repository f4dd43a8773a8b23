import Testing

@testable import SwiftTransport

extension Scenarios {
    /// The ends of a connection, asked for by its handlers.
    struct AddressTests {
        /// Asks at the events it is told to, and writes down what it hears.
        private final class Asker: ChannelHandler {
            static let interests: ChannelEvents = [.active, .inactive]
            private let atActive: Bool
            private let heard: Watched<[[SocketAddress?]]>
            init(atActive: Bool, _ heard: Watched<[[SocketAddress?]]>) {
                self.atActive = atActive
                self.heard = heard
            }
            func handlerAdded(_ context: ChannelContext) { ask(context) }
            func channelActive(_ context: ChannelContext) {
                if atActive { ask(context) }
                context.fireChannelActive()
            }
            func channelInactive(_ context: ChannelContext) { ask(context) }
            private func ask(_ context: ChannelContext) {
                let answer = [context.localAddress, context.remoteAddress]
                heard.update { $0.append(answer) }
            }
        }

        /// Not before the connection is there, from `channelActive` on, and to the very end; whatever the end.
        @Test(arguments: Place.all, [CloseMode.graceful, .reset])
        func addressesAreThereFromActiveToInactive(_ place: Place, _ mode: CloseMode) async throws {
            try await withGroup(place.engine) { group in
                let (served, connected) = (Watched([[SocketAddress?]]()), Watched([[SocketAddress?]]()))
                let (address, accepted, server) = try await group.serve(place) { [Asker(atActive: true, served)] }
                let client = try await ClientBootstrap(group: group)
                    .handlers { [Asker(atActive: true, connected)] }
                    .connect(to: address)
                let child = try await accepted.wait(for: "a connection") { !$0.isEmpty }[0]
                let own = try #require(await client.localAddress())
                #expect(await client.remoteAddress() == address)
                #expect(await child.localAddress() == address)
                #expect(await child.remoteAddress() == own)
                child.close(mode)
                await child.closed()
                client.close()
                await client.closed()
                #expect(served.value == [[nil, nil], [address, own], [address, own]])
                #expect(connected.value == [[nil, nil], [own, address], [own, address]])
                #expect(await child.remoteAddress() == own)
                server.close()
            }
        }

        /// Who asks only when it is over has asked too late.
        @Test(arguments: Place.all) func whoAsksTooLateGetsNone(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let heard = Watched([[SocketAddress?]]())
                let (channel, peer) = try await group.connection(place) { [Asker(atActive: false, heard)] }
                channel.close(.immediate)
                await channel.closed()
                #expect(heard.value == [[nil, nil], [nil, nil]])
                #expect(await channel.localAddress() == nil)
                peer.close()
            }
        }
    }
}
