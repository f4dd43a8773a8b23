internal import CTransport
internal import Glibc

/// Where a socket is: an IPv4 or IPv6 address with a port, or the path of a Unix domain socket.
public struct SocketAddress: Sendable, CustomStringConvertible {
    let raw: ct_address

    init(_ raw: ct_address) { self.raw = raw }

    /// A literal address, such as `127.0.0.1`, `::1` or `fe80::1%eth0`. Names are resolved by the bootstraps.
    public init(host: String, port: UInt16) throws(TransportError) {
        var address = ct_address()
        try checked(.getaddrinfo, SocketAddress.parse(host, port, &address))
        raw = address
    }

    /// The path of a Unix domain socket, at most 107 bytes; a name that begins with a zero byte is in the abstract
    /// name space and leaves no file behind.
    public init(unixDomainSocketPath path: String) throws(TransportError) {
        var address = ct_address()
        var path = path
        let result = path.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { characters -> Int32 in
                guard let base = characters.baseAddress else { return -EINVAL }
                return ct_address_unix(base, UInt32(clamping: characters.count), &address)
            }
        }
        try checked(.bind, result)
        raw = address
    }

    private static func parse(_ host: String, _ port: UInt16, _ address: inout ct_address) -> Int32 {
        ct_address_parse(host, port, &address) < 0 ? EAI_NONAME : 0
    }

    /// The port; 0 for a Unix domain socket.
    public var port: UInt16 {
        var copy = raw
        return ct_address_port(&copy)
    }

    /// The address family, `AF_INET`, `AF_INET6` or `AF_UNIX`.
    var family: Int32 { Int32(raw.storage.ss_family) }

    var isUnix: Bool { family == AF_UNIX }

    /// `127.0.0.1:80`, `[::1]:80` or `unix:/path`.
    public var description: String {
        var copy = raw
        return String(unsafeUninitializedCapacity: 160) { text in
            text.withMemoryRebound(to: CChar.self) { Int(ct_address_describe(&copy, $0.baseAddress!, 160)) }
        }
    }

    func withSockaddr<T>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> T) -> T {
        var copy = raw
        let length = copy.length
        return withUnsafePointer(to: &copy.storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }
}
