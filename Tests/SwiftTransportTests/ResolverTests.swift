import Glibc
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// Host names are resolved off the loop, and their addresses tried in order.
    struct ResolverTests {
        @Test(arguments: Engine.allCases) func localhostResolvesOffTheLoop(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let loop = group.loops[0]
                let answers = Watched<[(onLoop: Bool, addresses: [String])]>([])
                loop.execute {
                    _ = ResolverPool.shared.lookUp(host: "localhost", port: 7) { outcome in
                        let addresses = (try? outcome.get()) ?? []
                        answers.update { $0.append((EventLoop.current != nil, addresses.map(\.description))) }
                    }
                }
                let answer = try await answers.wait(for: "the resolver") { !$0.isEmpty }[0]
                #expect(!answer.onLoop)
                #expect(answer.addresses.contains("127.0.0.1:7") || answer.addresses.contains("[::1]:7"))
            }
        }

        @Test(arguments: Engine.allCases) func aServerAndAClientMeetByName(_ engine: Engine) async throws {
            try await withGroup(engine, loops: 2) { group in
                let server = try await ServerBootstrap(group: group).childHandlers { [EchoHandler()] }
                    .bind(host: "localhost", port: 0)
                let connection = try await ClientBootstrap(group: group)
                    .open(host: "localhost", port: server.localAddress.port)
                try await connection.send(Buffer("by name"))
                var inbound = connection.inbound.makeAsyncIterator()
                #expect(try await inbound.next().map { String($0) } == "by name")
                await connection.close(.immediate)
            }
        }

        @Test func literalsAskNobody() throws {
            #expect(Resolver.literal("127.0.0.1", 80)?.description == "127.0.0.1:80")
            #expect(Resolver.literal("::1", 80)?.description == "[::1]:80")
            #expect(Resolver.literal("localhost", 80) == nil)
            #expect(Resolver.literal("127.0.0.1.", 80) == nil)
            #expect(Resolver.literal("", 80) == nil)
        }

        /// Two that fail, one that answers, one that would: the third is taken, and nobody asks the fourth.
        @Test(arguments: Engine.allCases) func addressesAreTriedInOrder(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let refused = try RawSocket.bound(to: SocketAddress(host: "127.0.0.1", port: 0))
                let third = try await group.serve(Place(engine: engine, network: .tcp))
                let fourth = try await group.serve(Place(engine: engine, network: .tcp))
                let made = Watched(0)
                let outcome = try await attempt(
                    group,
                    [
                        SocketAddress(host: "255.255.255.255", port: 9), refused.localAddress, third.address,
                        fourth.address,
                    ]
                ) { made.update { $0 += 1 } }
                let channel = try outcome.get()
                #expect(await channel.remoteAddress()?.description == third.address.description)
                // Handlers are made for each attempt, before it begins, and for none that is not made.
                #expect(made.value == 3)
                try await third.accepted.wait(for: "the connection") { $0.count == 1 }
                #expect(fourth.accepted.value.isEmpty)
                channel.close(.immediate)
                await channel.closed()
                try await eventually("all of them to be gone") {
                    await group.loops[0].statistics()?.openEndpoints == 2  // the listeners
                }
            }
        }

        /// Of several failures the last one's is thrown.
        @Test(arguments: Engine.allCases) func theLastFailureIsThrown(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let refused = try RawSocket.bound(to: SocketAddress(host: "127.0.0.1", port: 0))
                let nowhere = try SocketAddress(host: "255.255.255.255", port: 9)
                let first = try await attempt(group, [nowhere, refused.localAddress]) {}
                await expectError(.connectionRefused, .connect, ECONNREFUSED) { try first.get() }
                let second = try await attempt(group, [refused.localAddress, nowhere]) {}
                await expectError(.unreachable, .connect, ENETUNREACH) { try second.get() }
                let none = try await attempt(group, []) {}
                await expectError(.invalidAddress, .getaddrinfo) { try none.get() }
            }
        }

        /// A connect to these addresses, as to those of a name.
        private func attempt(
            _ group: EventLoopGroup, _ addresses: [SocketAddress], _ made: @escaping @Sendable () -> Void
        ) async throws -> Result<Channel, TransportError> {
            await group.attempt(.addresses(addresses)) { _ in
                made()
                return []
            }
        }
    }
}
