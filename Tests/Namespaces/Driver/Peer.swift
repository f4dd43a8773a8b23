import Glibc

/// A bare socket of the driver's. Its calls block, for as long as the patience lasts.
final class Peer {
    private(set) var descriptor: Int32

    /// Connects to a server of `remote`.
    init(_ remote: Remote, port: Int, receiveBuffer: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Wrong(call: "socket") }
        var patience = timeval(tv_sec: Patience.seconds, tv_usec: 0)
        for name in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, name, &patience, socklen_t(MemoryLayout<timeval>.size))
        }
        if let receiveBuffer { set(SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
        set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        inet_pton(AF_INET, remote.address, &address.sin_addr)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Wrong(call: "connect") }
    }

    deinit { close() }

    private func set(_ level: Int32, _ name: Int32, _ value: Int32) {
        var value = value
        setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    // MARK: Bytes

    func write(_ byte: UInt8) throws {
        var byte = byte
        guard send(descriptor, &byte, 1, Int32(MSG_NOSIGNAL)) == 1 else { throw Wrong(call: "send") }
    }

    /// Reads one byte, which must be `byte`.
    func expect(_ byte: UInt8) throws {
        var read: UInt8 = 0
        let result = recv(descriptor, &read, 1, 0)
        if result < 0 { throw Wrong(call: "recv") }
        try require(result == 1, "the end of the stream instead of a byte")
        try require(read == byte, "\(read) instead of \(byte)")
    }

    /// The end of the stream, or a reset, and no byte.
    func expectEnd() throws {
        var read: UInt8 = 0
        let result = recv(descriptor, &read, 1, 0)
        if result == 0 || (result < 0 && errno == ECONNRESET) { return }
        throw result < 0 ? Wrong(call: "recv") : Wrong("a byte instead of the end")
    }

    /// What has come in, without waiting: the bytes, none when there are none, and whether the stream has ended.
    func readWhatIsThere(into memory: UnsafeMutableRawBufferPointer) throws -> (count: Int, hasEnded: Bool) {
        let result = recv(descriptor, memory.baseAddress, memory.count, Int32(MSG_DONTWAIT))
        if result < 0, errno == EAGAIN { return (0, false) }
        if result < 0 { throw Wrong(call: "recv") }
        return (result, result == 0)
    }

    // MARK: Ends

    func shutdownOutput() { shutdown(descriptor, Int32(SHUT_WR)) }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    /// The other side gets a reset instead of the end of the stream.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        close()
    }

    /// Which of `peers` have something to read, or have ended.
    static func readable(of peers: [Peer]) -> [Int] {
        var looks = peers.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
        poll(&looks, nfds_t(looks.count), 0)
        return looks.indices.filter { looks[$0].revents != 0 }
    }
}
