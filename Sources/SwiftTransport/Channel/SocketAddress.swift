internal import CTransport
internal import Glibc

/// Where a socket is: an IPv4 or IPv6 address with a port, or the path of a Unix domain socket.
public struct SocketAddress: Sendable, Hashable, CustomStringConvertible {
    let raw: ct_address

    init(_ raw: ct_address) { self.raw = raw }

    /// A literal address, such as `127.0.0.1`, `::1` or `fe80::1%eth0`. Names are resolved by the bootstraps.
    ///
    /// - Throws: `.invalidAddress`; with ENODEV as its error number when there is no such interface.
    public init(host: String, port: UInt16) throws(TransportError) {
        var address = ct_address()
        // C would not see what is behind a zero byte.
        let result = host.utf8.contains(0) ? -EINVAL : ct_address_parse(host, port, &address)
        guard result == 0 else {
            throw TransportError(
                .invalidAddress, errno: result == -EINVAL ? 0 : -result, subject: Self.name(of: host, port))
        }
        raw = address
    }

    /// The path of a Unix domain socket: at most 107 bytes, none of them zero. A name that begins with a zero byte is in the
    /// abstract name space and leaves no file behind; it has at most 108 bytes, that one included.
    ///
    /// - Throws: `.invalidAddress`, with ENAMETOOLONG as its error number when that is what is wrong.
    public init(unixDomainSocketPath path: String) throws(TransportError) {
        var address = ct_address()
        var bytes = path
        let result = bytes.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { characters -> Int32 in
                guard let base = characters.baseAddress else { return -EINVAL }
                return ct_address_unix(base, UInt32(clamping: characters.count), &address)
            }
        }
        guard result == 0 else {
            let name = path.utf8.first == 0 ? "@" + path.dropFirst() : path
            throw TransportError(
                .invalidAddress, errno: result == -EINVAL ? 0 : -result, subject: "unix:" + name)
        }
        raw = address
    }

    /// As ``init(unixDomainSocketPath:)``, when it is `call` that needs the address.
    static func unix(_ path: String, for call: SystemCall) throws(TransportError) -> SocketAddress {
        do throws(TransportError) {
            return try SocketAddress(unixDomainSocketPath: path)
        } catch {
            throw error.of(call)
        }
    }

    /// What an error calls a host that is no address yet.
    static func name(of host: String, _ port: UInt16) -> String {
        host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// The port; 0 for a Unix domain socket.
    public var port: UInt16 {
        var copy = raw
        return ct_address_port(&copy)
    }

    /// The address family, `AF_INET`, `AF_INET6` or `AF_UNIX`.
    var family: Int32 { Int32(raw.storage.ss_family) }

    var isUnix: Bool { family == AF_UNIX }

    /// The path of a Unix domain socket, with its zero byte; `nil` when it has none: a name in the abstract name space, or no
    /// name at all.
    var path: [CChar]? {
        guard isUnix else { return nil }
        let characters = withSockaddr { address, length in
            UnsafeRawBufferPointer(start: address, count: Int(length)).dropFirst(2).prefix { $0 != 0 }
                .map { CChar(bitPattern: $0) }
        }
        return characters.isEmpty ? nil : characters + [0]
    }

    /// True when both are the same place: family, address, port and, for IPv6, the interface; or the same path or name.
    public static func == (left: SocketAddress, right: SocketAddress) -> Bool {
        left.withIdentity { mine in
            right.withIdentity { others in
                mine.count == others.count && memcmp(mine.baseAddress!, others.baseAddress!, mine.count) == 0
            }
        }
    }

    /// Feeds what ``==(_:_:)`` compares.
    public func hash(into hasher: inout Hasher) { withIdentity { hasher.combine(bytes: $0) } }

    /// `127.0.0.1:80`, `[fe80::1%eth0]:80`, `unix:/path`, or `unix:@name` in the abstract name space.
    public var description: String {
        var copy = raw
        return String(unsafeUninitializedCapacity: 160) { text in
            text.withMemoryRebound(to: CChar.self) { Int(ct_address_describe(&copy, $0.baseAddress!, 160)) }
        }
    }

    /// Calls `body` with what two equal addresses have in common: the family and what follows it, without the padding of
    /// IPv4 and the flow label of IPv6, which say nothing about where it is.
    private func withIdentity<T>(_ body: (UnsafeRawBufferPointer) -> T) -> T {
        var plain = raw
        return withUnsafeMutableBytes(of: &plain.storage) { bytes in
            switch family {
            case AF_INET: bytes.bindMemory(to: sockaddr_in.self)[0].sin_zero = (0, 0, 0, 0, 0, 0, 0, 0)
            case AF_INET6: bytes.bindMemory(to: sockaddr_in6.self)[0].sin6_flowinfo = 0
            default: break
            }
            return body(UnsafeRawBufferPointer(rebasing: bytes[..<min(bytes.count, Int(raw.length))]))
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
