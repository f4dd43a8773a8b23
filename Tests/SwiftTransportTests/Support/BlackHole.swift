import Glibc

@testable import SwiftTransport

/// An address on this machine that does not answer: a listener that never accepts, and whose backlog is full.
final class BlackHole: Sendable {
    let address: SocketAddress
    private let listener: RawSocket
    private let filling: [Int32]

    init() throws {
        let listener = try RawSocket.listen(on: SocketAddress(host: "127.0.0.1", port: 0), backlog: 0)
        let address = try listener.localAddress
        // One is let in; the kernel forgets about the others until they ask again.
        filling = (0..<4).map { _ in
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            _ = address.withSockaddr { connect(descriptor, $0, $1) }
            return descriptor
        }
        self.listener = listener
        self.address = address
    }

    deinit { for descriptor in filling { close(descriptor) } }
}
