import Glibc
import Testing

@testable import SwiftTransport

extension WritePath {
    /// The other end of a connection: a plain socket that reads only when it is told to.
    final class Peer: @unchecked Sendable {
        let descriptor: Int32
        private(set) var received: [UInt8] = []
        private(set) var atEnd = false
        private(set) var failure: Int32 = 0
        private var isOpen = true

        init(_ descriptor: Int32) { self.descriptor = descriptor }
        deinit { close() }

        func close() {
            if isOpen { Glibc.close(descriptor) }
            isOpen = false
        }

        /// Closes with a reset.
        func reset() {
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
            close()
        }

        func endOutput() { shutdown(descriptor, Int32(SHUT_WR)) }

        func write(_ bytes: [UInt8]) {
            #expect(Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
        }

        /// Takes what is there, at most `limit` bytes. False when nothing was.
        @discardableResult
        func readSome(_ limit: Int = 65536) -> Bool {
            guard !atEnd, failure == 0 else { return false }
            var buffer = [UInt8](repeating: 0, count: limit)
            let count = recv(descriptor, &buffer, limit, Int32(MSG_DONTWAIT))
            if count > 0 { received += buffer[..<count] }
            if count == 0 { atEnd = true }
            if count < 0, errno != EAGAIN { failure = errno }
            return count > 0
        }

        /// Reads until `count` bytes are here in all, in pieces of at most `piece`.
        @discardableResult
        func read(_ count: Int, piece: Int = 65536) async -> [UInt8] {
            while received.count < count, !atEnd, failure == 0, !Task.isCancelled {
                if !readSome(min(piece, count - received.count)) { await readable() }
            }
            return received
        }

        /// Reads until the end of stream or a failure.
        @discardableResult
        func readToEnd(piece: Int = 65536) async -> [UInt8] {
            while !atEnd, failure == 0, !Task.isCancelled {
                if !readSome(piece) { await readable() }
            }
            return received
        }

        /// Waits a little for something to read; others get their turn in between.
        private func readable() async {
            var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            _ = Glibc.poll(&poll, 1, 1)
            await Task.yield()
        }
    }

    /// A listening socket of the plain kind.
    final class Door {
        let descriptor: Int32
        let address: SocketAddress

        init(unix: Bool = false, receiveBuffer: Int32? = nil) throws {
            let wanted: SocketAddress
            if unix {
                wanted = try SocketAddress(
                    unixDomainSocketPath: "\0write-path-\(getpid())-\(UInt64.random(in: 0 ... .max))")
            } else {
                wanted = try SocketAddress(host: "127.0.0.1", port: 0)
            }
            descriptor = socket(wanted.family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            if var size = receiveBuffer {
                setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout.size(ofValue: size)))
            }
            let descriptor = descriptor
            try #require(wanted.withSockaddr { Glibc.bind(descriptor, $0, $1) } == 0)
            try #require(listen(descriptor, 128) == 0)
            address = unix ? wanted : try ListeningSocket.address(of: descriptor)
        }
        deinit { close(descriptor) }

        /// The next connection; it is there already.
        func accept() throws -> Peer {
            let accepted = Glibc.accept(descriptor, nil, nil)
            try #require(accepted >= 0)
            return Peer(accepted)
        }
    }
}

extension WritePath {
    /// A plain socket that connects. The listener's backlog must have room.
    static func connect(to address: SocketAddress, receiveBuffer: Int32? = nil) throws -> Peer {
        let descriptor = socket(address.family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        try #require(descriptor >= 0)
        let peer = Peer(descriptor)
        if var size = receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout.size(ofValue: size)))
        }
        try #require(address.withSockaddr { Glibc.connect(descriptor, $0, $1) } == 0)
        return peer
    }
}
