import Glibc
import SwiftTransport
import Testing

extension Scenarios {
    /// A connect that fails says why, and leaves nothing behind.
    struct ConnectErrorTests {
        @Test(arguments: Engine.allCases) func aRefusedConnectSaysSo(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let reserved = try ReservedPort()
                await expectError(.connectionRefused, .connect, ECONNREFUSED, about: reserved.address.description) {
                    try await ClientBootstrap(group: group).connect(to: reserved.address)
                }
            }
        }

        @Test(arguments: Engine.allCases) func aUnixSocketNobodyListensOnRefuses(_ engine: Engine) async throws {
            let path = "/tmp/\(Unique.name())"
            defer { unlink(path) }
            try await withGroup(engine) { group in
                try RawSocket.listen(on: SocketAddress(unixDomainSocketPath: path)).close()
                await expectError(.connectionRefused, .connect, ECONNREFUSED, about: "unix:\(path)") {
                    try await ClientBootstrap(group: group).connect(unixDomainSocketPath: path)
                }
            }
        }

        /// A listener that never accepts, with a full backlog: the kernel drops what still comes, and nobody answers.
        @Test(arguments: Engine.allCases) func aConnectThatNobodyAnswersTimesOut(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let hole = try BlackHole()
                let client = ClientBootstrap(group: group).connectTimeout(.milliseconds(50))
                await expectError(.timedOut, .connect, ETIMEDOUT, about: hole.address.description) {
                    try await client.connect(to: hole.address)
                }
                // The timer and the half-made connection are gone, not only forgotten.
                let left = try #require(await group.loops[0].statistics())
                try await eventually("the slot to be free") { await group.loops[0].statistics()?.openEndpoints == 0 }
                #expect(left.armedTimers == LoopEnd.timers)
            }
        }

        /// TCP to a broadcast address has no route on any machine.
        @Test(arguments: Engine.allCases) func anAddressWithoutARouteIsUnreachable(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                await expectError(.unreachable, .connect, ENETUNREACH, about: "255.255.255.255:9") {
                    try await ClientBootstrap(group: group).connect(host: "255.255.255.255", port: 9)
                }
            }
        }

        /// The name is longer than a name can be, so that no name server is asked.
        @Test(arguments: Engine.allCases) func aNameThatCannotBeIsInvalid(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let name = String(repeating: "x", count: 70) + ".invalid"
                await expectError(.invalidAddress, .getaddrinfo, about: "\(name):9") {
                    try await ClientBootstrap(group: group).connect(host: name, port: 9)
                }
                await expectError(.invalidAddress, .getaddrinfo, about: "\(name):0") {
                    try await ServerBootstrap(group: group).bind(host: name, port: 0)
                }
            }
        }

        /// The loop ends while a connect is under way: nobody waits for ever.
        @Test(arguments: Engine.allCases) func aShutdownEndsAConnect(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let hole = try BlackHole()
                async let failure = expectError(.loopShutDown, .connect, about: hole.address.description) {
                    try await ClientBootstrap(group: group).connect(to: hole.address)
                }
                try await eventually("the connect to begin") { await group.loops[0].statistics()?.openEndpoints == 1 }
                let report = await group.shutdown()
                #expect(report.isComplete)
                _ = await failure
            }
        }
    }
}

/// A port that is taken, and where nobody listens.
private final class ReservedPort {
    let address: SocketAddress
    private let socket: RawSocket

    init() throws {
        socket = try RawSocket.bound(to: SocketAddress(host: "127.0.0.1", port: 0))
        address = try socket.localAddress
    }
}
