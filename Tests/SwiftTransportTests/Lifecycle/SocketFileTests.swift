import Glibc
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// The file of a Unix domain socket: replaced when it was left behind, gone with its server, and never anybody else's.
    struct SocketFileTests {
        private static func freshPath() -> String { "/tmp/\(Unique.name()).sock" }
        private static func kind(of path: String) -> mode_t? {
            var status = stat()
            return lstat(path, &status) == 0 ? status.st_mode & S_IFMT : nil
        }

        /// Left behind by a server that ended without closing; the new one works, and its file goes with it.
        @Test(arguments: Engine.allCases, [1, 2]) func aStaleFileIsReplaced(_ engine: Engine, _ loops: Int) async throws
        {
            try await withGroup(engine, loops: loops) { group in
                let path = Self.freshPath()
                defer { unlink(path) }
                let address = try SocketAddress(unixDomainSocketPath: path)
                for _ in 0..<2 {
                    try RawSocket.listen(on: address).close()
                    #expect(Self.kind(of: path) == S_IFSOCK)
                    let server = try await ServerBootstrap(group: group)
                        .childHandlers { [EchoHandler()] }
                        .bind(unixDomainSocketPath: path)
                    #expect(server.localAddress == address)
                    let peer = try await blocking { try RawSocket.connect(to: address) }
                    try await blocking { try peer.write("hello") }
                    #expect(try await blocking { try peer.read(5) } == Array("hello".utf8))
                    server.close()
                    await server.closed()
                    #expect(Self.kind(of: path) == nil)
                    peer.close()
                }
            }
        }

        /// Somebody listens, or is about to; or it is no socket at all: it stays, and binding fails.
        @Test(arguments: Engine.allCases, ["listening", "bound", "full", "ours", "file", "folder", "link"])
        func whatIsInUseStays(_ engine: Engine, _ what: String) async throws {
            try await withGroup(engine) { group in
                let path = Self.freshPath()
                defer {
                    unlink(path)
                    rmdir(path)
                }
                let address = try SocketAddress(unixDomainSocketPath: path)
                let bootstrap = ServerBootstrap(group: group).childHandlers { [EchoHandler()] }
                var holders: [RawSocket] = []
                var servers: [ServerChannel] = []
                switch what {
                case "listening": holders = [try RawSocket.listen(on: address)]
                case "bound": holders = [try RawSocket.bound(to: address)]
                case "full":
                    holders = [try RawSocket.listen(on: address, backlog: 0)]
                    holders.append(try await blocking { try RawSocket.connect(to: address) })
                case "ours": servers = [try await bootstrap.bind(to: address)]
                case "file": close(open(path, O_CREAT | O_WRONLY, 0o600))
                case "folder": mkdir(path, 0o700)
                default: symlink("/nowhere", path)
                }
                let kind = Self.kind(of: path)
                #expect(kind != nil)
                await expectError(.addressInUse, .bind, EADDRINUSE, about: "unix:\(path)") {
                    try await bootstrap.bind(to: address)
                }
                #expect(Self.kind(of: path) == kind)
                for holder in holders { holder.close() }
                for server in servers { server.close() }
            }
        }

        /// Whoever has put something else in its place keeps it.
        @Test(arguments: Engine.allCases) func anothersFileStays(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let path = Self.freshPath()
                defer { unlink(path) }
                let server = try await ServerBootstrap(group: group).bind(unixDomainSocketPath: path)
                unlink(path)
                let other = try RawSocket.listen(on: SocketAddress(unixDomainSocketPath: path))
                server.close()
                await server.closed()
                #expect(Self.kind(of: path) == S_IFSOCK)
                other.close()
            }
        }

        /// Asked to leave files alone, a server neither replaces nor removes one.
        @Test(arguments: Engine.allCases) func filesMayBeLeftAlone(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let path = Self.freshPath()
                defer { unlink(path) }
                let bootstrap = ServerBootstrap(group: group).removeSocketFile(false)
                let server = try await bootstrap.bind(unixDomainSocketPath: path)
                server.close()
                await server.closed()
                #expect(Self.kind(of: path) == S_IFSOCK)
                await expectError(.addressInUse, .bind, EADDRINUSE, about: "unix:\(path)") {
                    try await bootstrap.bind(unixDomainSocketPath: path)
                }
            }
        }

        /// The end of the group is the end of its files.
        @Test(arguments: Engine.allCases) func filesGoWithTheGroup(_ engine: Engine) async throws {
            let path = Self.freshPath()
            try await withGroup(engine) { group in
                _ = try await ServerBootstrap(group: group).bind(unixDomainSocketPath: path)
                #expect(Self.kind(of: path) == S_IFSOCK)
            }
            #expect(Self.kind(of: path) == nil)
        }
    }
}
