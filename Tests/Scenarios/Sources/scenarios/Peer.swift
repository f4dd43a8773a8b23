import Glibc
import SwiftTransport

/// A bare socket: the other end of the library's connections. Its calls block for twenty seconds at most.
final class Peer: @unchecked Sendable {
    private var descriptor: Int32

    init(_ server: ServerChannel, _ network: Network, receiveBuffer: Int32? = nil) throws {
        let (family, address) =
            network == .tcp
            ? (AF_INET, Self.address(port: server.localAddress.port))
            : (AF_UNIX, Self.address(name: server.localAddress.description))
        descriptor = socket(family, Int32(SOCK_STREAM.rawValue), 0)
        try require(descriptor >= 0, "socket: \(errno)")
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        for name in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, name, &patience, socklen_t(MemoryLayout<timeval>.size))
        }
        if let receiveBuffer { set(SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
        if network == .tcp { set(Int32(IPPROTO_TCP), TCP_NODELAY, 1) }
        let result = address.withUnsafeBytes {
            Glibc.connect(
                descriptor, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t(address.count))
        }
        try require(result == 0, "connect: \(errno)")
    }

    deinit { close() }

    private func set(_ level: Int32, _ name: Int32, _ value: Int32) {
        var value = value
        setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private static func address(port: UInt16) -> [UInt8] {
        var raw = sockaddr_in()
        raw.sin_family = sa_family_t(AF_INET)
        raw.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        raw.sin_port = port.bigEndian
        return withUnsafeBytes(of: &raw) { [UInt8]($0) }
    }

    /// A name in the abstract name space, which is described with an @ for its zero byte.
    private static func address(name: String) -> [UInt8] {
        var family = sa_family_t(AF_UNIX)
        return withUnsafeBytes(of: &family) { [UInt8]($0) } + [0]
            + name.utf8.drop { $0 != UInt8(ascii: "@") }.dropFirst()
    }

    func write(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let result = bytes.withUnsafeBytes {
                send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            try require(result > 0, "send: \(errno)")
            sent += result
        }
    }

    /// As much as the kernel takes without waiting.
    func writeWhatFits(_ bytes: [UInt8]) -> Int {
        max(0, send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)))
    }

    /// Exactly `count` bytes, or fewer when the stream ends.
    func read(_ count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count, let more = try receive(count - bytes.count) { bytes += more }
        return bytes
    }

    /// Everything to the end of the stream; a reset is an error.
    func readToEnd() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let more = try receive(1 << 16) { bytes += more }
        return bytes
    }

    private func receive(_ limit: Int) throws -> [UInt8]? {
        var memory = [UInt8](repeating: 0, count: limit)
        let result = recv(descriptor, &memory, limit, 0)
        if result < 0 { throw errno == ECONNRESET ? Reset() as any Error : Wrong(description: "recv: \(errno)") }
        return result == 0 ? nil : Array(memory[..<result])
    }

    struct Reset: Error {}

    func shutdownOutput() { shutdown(descriptor, Int32(SHUT_WR)) }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        close()
    }
}
