import CTransport
import Glibc
import Testing

/// The other side of a connection: a plain socket that is never blocked on.
final class Peer {
    let fd: Int32
    private(set) var received: [UInt8] = []
    private(set) var atEnd = false
    private(set) var failure: Int32 = 0
    private var isOpen = true

    init(fd: Int32) { self.fd = fd }
    deinit { close() }

    func close() {
        if isOpen { Glibc.close(fd) }
        isOpen = false
    }

    /// Close with a reset instead of the end of the stream.
    func reset() {
        ct_socket_set_linger(fd, true, 0)
        close()
    }

    /// Writes what the kernel takes now; the number of bytes, or -errno.
    @discardableResult
    func write(_ bytes: [UInt8], flags: Int32 = 0) -> Int {
        let sent = Glibc.send(fd, bytes, bytes.count, flags | Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        return sent < 0 ? -Int(errno) : sent
    }

    func shutdownOutput() { Glibc.shutdown(fd, Int32(SHUT_WR)) }

    /// The error that waits to be told, taken away: a reset behind the end of the stream shows only here.
    func takeError() -> Int32 {
        var error: Int32 = -1
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length)
        return error
    }

    /// Takes in what has arrived; true once that was the end of the stream.
    var isAtEnd: Bool {
        read()
        return atEnd
    }

    /// Takes in what has arrived; true once nothing more will.
    var isOver: Bool { isAtEnd || failure != 0 }

    /// Takes in what has arrived; all of what was received so far.
    @discardableResult
    func read() -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while !atEnd && failure == 0 {
            let count = Glibc.recv(fd, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count > 0 { received += buffer[..<count] }
            if count == 0 { atEnd = true }
            if count < 0 {
                if errno != EAGAIN { failure = errno }
                break
            }
        }
        return received
    }
}

/// How a test connects two sockets.
enum Transport: String, CaseIterable, CustomTestStringConvertible {
    case tcp, unix, socketPair
    var testDescription: String { rawValue }
    static let withListener: [Transport] = [.tcp, .unix]
}

/// A bound, listening socket on the loopback, not yet given to a loop.
struct Listener {
    let fd: Int32
    let address: ct_address

    /// Without `listens` the address is taken, and connects to it are refused.
    init(_ transport: Transport = .tcp, backlog: Int32 = 512, listens: Bool = true) throws {
        var failure = ct_failure()
        var address = ct_address()
        switch transport {
        case .unix:
            // A name in the abstract namespace leaves nothing behind.
            var name = "\0ct-\(getpid())-\(UInt64.random(in: .min ... .max))"
            let made = name.withUTF8 { bytes in
                bytes.withMemoryRebound(to: CChar.self) { ct_address_unix($0.baseAddress!, UInt32($0.count), &address) }
            }
            try #require(made == 0)
        default: try #require(ct_address_parse("127.0.0.1", 0, &address) == 0)
        }
        fd = ct_socket_open(Int32(address.storage.ss_family), &failure)
        try #require(fd >= 0)
        try #require(ct_socket_bind(fd, &address, &failure) == 0)
        if listens { try #require(ct_socket_listen(fd, backlog, &failure) == 0) }
        try #require(ct_socket_local_address(fd, &address) == 0)
        self.address = address
    }

    /// A socket of the right family, not connected.
    func socket() throws -> Int32 {
        var failure = ct_failure()
        let fd = ct_socket_open(Int32(address.storage.ss_family), &failure)
        try #require(fd >= 0)
        return fd
    }

    /// 0 or the errno of a blocking connect.
    func connect(_ fd: Int32) -> Int32 {
        address.withSockaddr { Glibc.connect(fd, $0, $1) } == 0 ? 0 : errno
    }

    /// Connects a plain socket; the backlog takes it without anybody accepting.
    func connectPeer() throws -> Peer {
        let peer = Peer(fd: try socket())
        try #require(connect(peer.fd) == 0)
        return peer
    }
}

extension ct_address {
    func withSockaddr<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        withUnsafePointer(to: storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }
}

extension TestLoop {
    /// A connection of the loop and the plain socket at its other end.
    func connection(_ transport: Transport = .socketPair, receiving: Bool = true) throws -> (Endpoint, Peer) {
        var fds: [Int32] = [-1, -1]
        let peer: Peer
        if transport == .socketPair {
            let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            try #require(socketpair(AF_UNIX, type, 0, &fds) == 0)
            peer = Peer(fd: fds[1])
        } else {
            let listener = try Listener(transport)
            defer { Glibc.close(listener.fd) }
            peer = try listener.connectPeer()
            fds[0] = accept(listener.fd, nil, nil)
        }
        peers.append(peer)
        let endpoint = try open(fds[0])
        if receiving { try #require(ct_receive_start(loop, endpoint.slot) == 0) }
        return (endpoint, peer)
    }

    func connect(_ endpoint: Endpoint, to address: ct_address) -> Int32 {
        address.withSockaddr { ct_connect(loop, endpoint.slot, $0, $1) }
    }
}

/// Bytes that show it when one is lost, doubled or out of place. They repeat, but at no distance a buffer would have.
func pattern(_ count: Int, seed: Int = 0) -> [UInt8] {
    let period = patternPeriod.count
    var start = ((seed &* 7919) % period + period) % period
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    while bytes.count < count {
        bytes += patternPeriod[start..<min(period, start + count - bytes.count)]
        start = 0
    }
    return bytes
}

private let patternPeriod = (0..<65_521).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
