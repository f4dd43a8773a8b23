import Foundation
import SwiftTransport
import Testing

extension Scenarios {
    /// An address that is taken or not to be had is an error that helps, never a trap.
    struct AddressErrorTests {
        @Test(arguments: Place.all, [1, 3]) func anAddressInUseIsRefused(_ place: Place, _ loops: Int) async throws {
            try await withGroup(place.engine, loops: loops) { group in
                let other = try RawSocket.listen(on: place.freshAddress())
                let address = try other.localAddress
                await expectError(.addressInUse, .bind, EADDRINUSE, about: address.description) {
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
                for path in ["", "/tmp/x.sock\0.allowed"] {
                    let subject = path.isEmpty ? "unix:" : #"unix:/tmp/x.sock\0.allowed"#
                    await expectError(.invalidAddress, .bind, 0, about: subject) {
                        try await server.bind(unixDomainSocketPath: path)
                    }
                    await expectError(.invalidAddress, .connect, 0, about: subject) {
                        try await client.connect(unixDomainSocketPath: path)
                    }
                }
                let nowhere = "/nowhere/\(Unique.name())"
                await expectError(.invalidAddress, .bind, ENOENT, about: "unix:\(nowhere)") {
                    try await server.bind(unixDomainSocketPath: nowhere)
                }
                await expectError(.invalidAddress, .connect, ENOENT, about: "unix:\(nowhere)") {
                    try await client.connect(unixDomainSocketPath: nowhere)
                }
                await expectError(.invalidAddress, .connect, ENOTDIR) {
                    try await client.connect(unixDomainSocketPath: "/dev/null/socket")
                }
            }
        }

        /// A path has 107 bytes at most, because a zero has to fit behind it; an abstract name 108 with the zero before it.
        @Test(arguments: Engine.allCases, [false, true]) func theLongestUnixNameWorks(_ engine: Engine, abstract: Bool)
            async throws
        {
            let start = abstract ? "\0\(Unique.name())" : "/tmp/\(Unique.name())"
            let longest = start.padding(toLength: abstract ? 108 : 107, withPad: "x", startingAt: 0)
            defer { unlink(longest) }
            try await withGroup(engine) { group in
                let server = try await ServerBootstrap(group: group).childHandlers { [EchoHandler()] }
                    .bind(unixDomainSocketPath: longest)
                let connection = try await ClientBootstrap(group: group).open(server.localAddress)
                try await connection.send(Buffer("fits"))
                var inbound = connection.inbound.makeAsyncIterator()
                #expect(try await inbound.next().map { String($0) } == "fits")
                #expect(await connection.channel.remoteAddress()?.description == server.localAddress.description)
                await connection.close()

                let subject = "unix:" + longest.replacing("\0", with: "@") + "x"
                let error = await expectError(.invalidAddress, .bind, ENAMETOOLONG, about: subject) {
                    try await ServerBootstrap(group: group).bind(unixDomainSocketPath: longest + "x")
                }
                #expect(error?.description.contains(abstract ? "108" : "107") == true)
                await expectError(.invalidAddress, .connect, ENAMETOOLONG, about: subject) {
                    try await ClientBootstrap(group: group).connect(unixDomainSocketPath: longest + "x")
                }
            }
        }

        /// C sees nothing behind a zero byte: such a host would be somebody else's.
        @Test(arguments: Engine.allCases) func aZeroByteInAHostIsInvalid(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let server = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0)
                let port = server.localAddress.port
                for host in ["127.0.0.1\0.example.com", "localhost\0.example.com", "\0"] {
                    let subject = "\(host.replacing("\0", with: #"\0"#)):\(port)"
                    await expectError(.invalidAddress, .none, 0, about: subject) {
                        try SocketAddress(host: host, port: port)
                    }
                    await expectError(.invalidAddress, .getaddrinfo, about: subject) {
                        try await ClientBootstrap(group: group).connect(host: host, port: port)
                    }
                    await expectError(.invalidAddress, .getaddrinfo, about: subject) {
                        try await ServerBootstrap(group: group).bind(host: host, port: port)
                    }
                }
            }
        }

        @Test func aHostThatIsNoLiteralAddressIsNamed() async {
            await expectError(.invalidAddress, .none, 0, about: "example.com:80") {
                try SocketAddress(host: "example.com", port: 80)
            }
            await expectError(.invalidAddress, .none, 0, about: "[::x]:80") {
                try SocketAddress(host: "::x", port: 80)
            }
            await expectError(.invalidAddress, .none, ENODEV, about: "[fe80::1%no-such]:80") {
                try SocketAddress(host: "fe80::1%no-such", port: 80)
            }
        }

        @Test func addressesAreDescribedAsTheyAre() throws {
            #expect(try SocketAddress(host: "127.0.0.1", port: 80).description == "127.0.0.1:80")
            #expect(try SocketAddress(host: "::1", port: 80).description == "[::1]:80")
            #expect(try SocketAddress(host: "fe80::1%lo", port: 80).description == "[fe80::1%lo]:80")
            #expect(try SocketAddress(unixDomainSocketPath: "/tmp/a@b").description == "unix:/tmp/a@b")
            #expect(try SocketAddress(unixDomainSocketPath: "\0a\0b").description == "unix:@a@b")
            #expect(try SocketAddress(unixDomainSocketPath: "\0").description == "unix:@")
        }

        @Test(arguments: Engine.allCases) func anAddressOfAnotherMachineCannotBeBound(_ engine: Engine) async throws {
            try await withGroup(engine, loops: 2) { group in
                // TEST-NET-1 of RFC 5737: nobody's.
                await expectError(.invalidAddress, .bind, EADDRNOTAVAIL, about: "192.0.2.1:0") {
                    try await ServerBootstrap(group: group).bind(host: "192.0.2.1", port: 0)
                }
            }
        }
    }
}
