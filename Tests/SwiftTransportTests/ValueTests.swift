import CTransport
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// Addresses and bytes as keys, and as lines of a log.
    struct ValueTests {
        @Test func anAddressIsTheSameWhereverItCameFrom() throws {
            let one = try SocketAddress(host: "127.0.0.1", port: 80)
            let others = try [
                SocketAddress(host: "127.0.0.1", port: 81), SocketAddress(host: "127.0.0.2", port: 80),
                SocketAddress(host: "::1", port: 80), SocketAddress(host: "::2", port: 80),
                SocketAddress(host: "::1", port: 81), SocketAddress(host: "::1%lo", port: 80),
                SocketAddress(unixDomainSocketPath: "/a"), SocketAddress(unixDomainSocketPath: "/ab"),
                SocketAddress(unixDomainSocketPath: "\0a"), SocketAddress(unixDomainSocketPath: "\0a\0"),
            ]
            #expect(try one == SocketAddress(host: "127.0.0.1", port: 80))
            #expect(try others[6] == SocketAddress(unixDomainSocketPath: "/a"))
            #expect(Set(others + others + [one]).count == others.count + 1)
        }

        /// Neither the padding of IPv4 nor the flow label of IPv6 is a place, whoever filled them.
        @Test func whatIsNoPlaceIsNotCompared() throws {
            for host in ["127.0.0.1", "::1"] {
                let clean = try SocketAddress(host: host, port: 80)
                var raw = clean.raw
                let unused = host == "::1" ? 4..<8 : 8..<16
                withUnsafeMutableBytes(of: &raw.storage) { for index in unused { $0[index] = 0xAA } }
                #expect(SocketAddress(raw) == clean)
                #expect(SocketAddress(raw).hashValue == clean.hashValue)
            }
        }

        /// What the kernel says of a socket is what a client would be told to connect to.
        @Test(arguments: Place.all) func theKernelsAnswerIsEqual(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let (address, _, server) = try await group.serve(place)
                let channel = try await ClientBootstrap(group: group).connect(to: address)
                #expect(await channel.remoteAddress() == address)
                server.close()
            }
        }

        @Test func buffersAreTheirBytes() {
            let whole = Buffer("hello hello")
            #expect(whole[0..<5] == whole[6..<11] && whole[0..<5].hashValue == whole[6..<11].hashValue)
            #expect(Set([Buffer(), Buffer(""), whole[3..<3], whole[0..<5], whole[6..<11], whole]).count == 3)
        }

        @Test func valuesDescribeThemselves() {
            #expect("\(Buffer())" == "0 bytes")
            #expect("\(Buffer([7]))" == "1 byte: 07")
            #expect("\(Buffer("hello"))" == "5 bytes: 68 65 6c 6c 6f")
            #expect("\(Buffer([UInt8](repeating: 255, count: 17)))".hasSuffix("ff ff ..."))
            let sizes: [ByteCount] = [0, 1, 1000, .kibibytes(64), .mebibytes(2), .kibibytes(1025)]
            #expect(sizes.map(\.description) == ["0 bytes", "1 byte", "1000 bytes", "64 KiB", "2 MiB", "1025 KiB"])
        }
    }
}
