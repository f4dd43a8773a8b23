import Glibc
import SwiftTransport
import Testing

extension Scenarios {
    /// Issue 2, "Limits and bad input": an address that is taken or not to be had is an error that helps, never a trap.
    struct AddressErrorTests {
        @Test(arguments: Place.all, [1, 3]) func anAddressInUseIsRefused(_ place: Place, _ loops: Int) async throws {
            try await withGroup(place.engine, loops: loops) { group in
                let other = try RawSocket.listen(on: place.freshAddress())
                let address = try other.localAddress
                await expectError(.addressInUse, .bind, EADDRINUSE) {
                    try await ServerBootstrap(group: group).bind(to: address)
                }
            }
        }

        /// Several loops listen with SO_REUSEPORT, which would let two servers of one user share a port in silence.
        @Test(arguments: Engine.allCases, [1, 3]) func twoServersDoNotShareAPort(_ engine: Engine, _ loops: Int)
            async throws
        {
            try await withGroup(engine, loops: 2) { first in
                let server = try await ServerBootstrap(group: first).childHandlers { [EchoHandler()] }
                    .bind(host: "127.0.0.1", port: 0)
                try await withGroup(engine, loops: loops) { second in
                    await expectError(.addressInUse, .bind, EADDRINUSE) {
                        try await ServerBootstrap(group: second).bind(to: server.localAddress)
                    }
                }
                // The failed one took nothing away from the first: every connection is served.
                let echoes = try await blocking {
                    try (0..<8).map { _ in
                        let peer = try RawSocket.connect(to: server.localAddress)
                        try peer.write("still here")
                        return String(decoding: try peer.read(10), as: UTF8.self)
                    }
                }
                #expect(echoes == Array(repeating: "still here", count: 8))
            }
        }

        /// A port is free again as soon as its server is closed, connections or not (SO_REUSEADDR).
        @Test(arguments: Engine.allCases, [1, 3]) func aClosedServersPortIsFree(_ engine: Engine, _ loops: Int)
            async throws
        {
            try await withGroup(engine, loops: loops) { group in
                let bootstrap = ServerBootstrap(group: group).childHandlers { [EchoHandler()] }
                let first = try await bootstrap.bind(host: "127.0.0.1", port: 0)
                let peer = try await blocking { try RawSocket.connect(to: first.localAddress) }
                try await blocking {
                    try peer.write("x")
                    _ = try peer.read(1)
                }
                first.close()
                await first.closed()
                let second = try await bootstrap.bind(to: first.localAddress)
                #expect(second.localAddress.description == first.localAddress.description)
            }
        }

        @Test(arguments: Engine.allCases) func aUnixSocketFileThatExistsIsInUse(_ engine: Engine) async throws {
            let path = "/tmp/\(Unique.name())"
            defer { unlink(path) }
            try await withGroup(engine) { group in
                _ = try await ServerBootstrap(group: group).bind(unixDomainSocketPath: path)
                await expectError(.addressInUse, .bind, EADDRINUSE) {
                    try await ServerBootstrap(group: group).bind(unixDomainSocketPath: path)
                }
            }
        }

        @Test(arguments: Engine.allCases) func aUnixPathThatCannotBeIsInvalid(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let server = ServerBootstrap(group: group)
                let client = ClientBootstrap(group: group)
                let tooLong = "/tmp/" + String(repeating: "x", count: 103)
                await expectError(.invalidAddress, .bind) { try await server.bind(unixDomainSocketPath: tooLong) }
                await expectError(.invalidAddress, .bind) { try await server.bind(unixDomainSocketPath: "") }
                await expectError(.invalidAddress, .bind, ENOENT) {
                    try await server.bind(unixDomainSocketPath: "/nowhere/\(Unique.name())")
                }
                await expectError(.invalidAddress, .connect, ENOENT) {
                    try await client.connect(unixDomainSocketPath: "/nowhere/\(Unique.name())")
                }
            }
        }

        @Test(arguments: Engine.allCases) func anAddressOfAnotherMachineCannotBeBound(_ engine: Engine) async throws {
            try await withGroup(engine, loops: 2) { group in
                // TEST-NET-1 of RFC 5737: nobody's.
                await expectError(.invalidAddress, .bind, EADDRNOTAVAIL) {
                    try await ServerBootstrap(group: group).bind(host: "192.0.2.1", port: 0)
                }
            }
        }
    }
}
