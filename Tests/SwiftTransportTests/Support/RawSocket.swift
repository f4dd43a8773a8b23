import Glibc

@testable import SwiftTransport

/// A blocking socket of the test's own, for peers that must misbehave, and for peers whose every call counts. To be used on
/// a thread of its own: see `blocking(_:)`.
final class RawSocket: @unchecked Sendable {
    private(set) var descriptor: Int32

    struct Failure: Error, CustomStringConvertible {
        let call: String
        let number: Int32
        var description: String { "\(call): \(String(cString: strerror(number)))" }
    }

    init(_ descriptor: Int32) { self.descriptor = descriptor }
    deinit { close() }

    static func connect(to address: SocketAddress, receiveBuffer: Int32? = nil) throws -> RawSocket {
        let made = try unconnected(address.family)
        if let receiveBuffer { made.set(SO_RCVBUF, receiveBuffer) }
        try made.connect(to: address)
        return made
    }

    static func unconnected(_ family: Int32 = AF_INET) throws -> RawSocket {
        let made = RawSocket(socket(family, Int32(SOCK_STREAM.rawValue), 0))
        guard made.descriptor >= 0 else { throw Failure(call: "socket", number: errno) }
        made.limitPatience()
        return made
    }

    func connect(to address: SocketAddress) throws {
        guard address.withSockaddr({ Glibc.connect(descriptor, $0, $1) }) == 0 else {
            throw Failure(call: "connect", number: errno)
        }
    }

    /// A listener; `address` with port 0 gets one: see `localAddress`.
    static func listen(on address: SocketAddress, backlog: Int32 = 16) throws -> RawSocket {
        let made = try bound(to: address)
        guard Glibc.listen(made.descriptor, backlog) == 0 else { throw Failure(call: "listen", number: errno) }
        return made
    }

    /// Has an address, and does nothing with it.
    static func bound(to address: SocketAddress) throws -> RawSocket {
        let made = try unconnected(address.family)
        made.set(SO_REUSEADDR, 1)
        guard address.withSockaddr({ Glibc.bind(made.descriptor, $0, $1) }) == 0 else {
            throw Failure(call: "bind", number: errno)
        }
        return made
    }

    var localAddress: SocketAddress {
        get throws { try ListeningSocket.address(of: descriptor) }
    }

    func accept() throws -> RawSocket {
        let accepted = Glibc.accept(descriptor, nil, nil)
        guard accepted >= 0 else { throw Failure(call: "accept", number: errno) }
        let made = RawSocket(accepted)
        made.limitPatience()
        return made
    }

    // MARK: Bytes

    func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try writeAll($0) } }

    private func writeAll(_ bytes: UnsafeRawBufferPointer) throws {
        var sent = 0
        while sent < bytes.count {
            let result = Glibc.send(descriptor, bytes.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            guard result > 0 else { throw Failure(call: "send", number: errno) }
            sent += result
        }
    }

    func write(_ text: String) throws { try write([UInt8](text.utf8)) }

    /// At least one byte, or none at the end of stream.
    func readSome(upTo limit: Int = 64 * 1024) throws -> [UInt8] {
        let (bytes, number) = receive(limit)
        guard let bytes else { throw Failure(call: "recv", number: number) }
        return bytes
    }

    /// Exactly `count` bytes, or fewer when the stream ends.
    func read(_ count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let more = try readSome(upTo: count - bytes.count)
            if more.isEmpty { break }
            bytes += more
        }
        return bytes
    }

    /// Sends `message` and reads as many bytes back, `count` times, all peers at once. True when every echo was right.
    /// Allocates nothing per message: this is the load of tests that count.
    static func exchange(_ message: [UInt8], count: Int, with peers: [RawSocket]) throws -> Bool {
        let echo = UnsafeMutableRawPointer.allocate(byteCount: message.count, alignment: 1)
        defer { echo.deallocate() }
        return try message.withUnsafeBytes { message in
            for _ in 0..<count {
                for peer in peers { try peer.writeAll(message) }
                for peer in peers {
                    var read = 0
                    while read < message.count {
                        let result = Glibc.recv(peer.descriptor, echo + read, message.count - read, 0)
                        guard result > 0 else { throw Failure(call: "recv", number: result < 0 ? errno : 0) }
                        read += result
                    }
                    if memcmp(echo, message.baseAddress!, message.count) != 0 { return false }
                }
            }
            return true
        }
    }

    /// Everything until the end of stream or an error, and the error.
    func readToEnd() -> (bytes: [UInt8], error: Int32) {
        var all: [UInt8] = []
        while true {
            let (bytes, number) = receive(1 << 20)
            guard let bytes else { return (all, number) }
            if bytes.isEmpty { return (all, 0) }
            all += bytes
        }
    }

    private func receive(_ limit: Int) -> (bytes: [UInt8]?, number: Int32) {
        var number: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            let result = Glibc.recv(descriptor, buffer.baseAddress!, limit, 0)
            number = result < 0 ? errno : 0
            count = max(0, result)
        }
        return (number == 0 ? bytes : nil, number)
    }

    // MARK: Ends

    func shutdownOutput() { _ = Glibc.shutdown(descriptor, Int32(SHUT_WR)) }

    func close() {
        guard descriptor >= 0 else { return }
        _ = Glibc.close(descriptor)
        descriptor = -1
    }

    /// The peer gets a reset instead of an end of stream.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        close()
    }

    private func set(_ name: Int32, _ value: Int32) {
        var value = value
        setsockopt(descriptor, SOL_SOCKET, name, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// A broken library must fail a test, not hang it.
    private func limitPatience() {
        // A `timeval`. Its members are hidden or not, depending on which module the compiler has seen first.
        var time = (seconds: Int(Patience.limit.components.seconds), microseconds: 0)
        for name in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, name, &time, socklen_t(MemoryLayout<timeval>.size))
        }
    }
}
