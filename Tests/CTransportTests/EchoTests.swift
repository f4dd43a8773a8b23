import CTransport
import Glibc
import Testing

@Suite struct EchoTests {
    /// A server and its clients in one loop: every byte comes back, in order, on its own connection, through sends of
    /// all sizes (W20: partial sends go on where the kernel stopped).
    @Test(arguments: Variant.all, Transport.withListener)
    func everyByteComesBackWithinOneLoop(variant: Variant, transport: Transport) throws {
        let clients = 8
        let sizes = [1, 64, 4096, 70_000, 200_000]
        try withLoop(variant) { loop in
            let listener = try Listener(transport)
            let server = try loop.open(listener.fd, listener: true)
            #expect(ct_accept_start(loop.loop, server.slot) == 0)
            let ends = try (0..<clients).map { _ in try loop.open(listener.socket()) }
            for end in ends { #expect(loop.connect(end, to: listener.address) == 0) }
            #expect(
                loop.reaches {
                    server.acceptedDescriptors.count == clients && ends.allSatisfy { $0.happenings == [.connected] }
                })
            let echoes = try server.acceptedDescriptors.map { try Echo(loop, $0) }
            for end in ends { #expect(ct_receive_start(loop.loop, end.slot) == 0) }
            var total = 0
            for size in sizes {
                total += size
                for (i, end) in ends.enumerated() {
                    #expect(end.send(pattern(size, seed: i), vectors: 1 + i % 4, on: loop) == 0)
                }
                #expect(loop.reaches { ends.allSatisfy { $0.received.count == total && $0.outgoing == nil } })
            }
            for (i, end) in ends.enumerated() {
                #expect(end.received == sizes.flatMap { pattern($0, seed: i) })
            }
            let bytes = UInt64(clients * total * 2)
            #expect(loop.statistics.received_bytes == bytes)
            #expect(loop.statistics.sent_bytes == bytes)
            #expect(echoes.count == clients)
        }
    }

    /// The same with a plain socket at the other end.
    @Test(arguments: Variant.all, Transport.allCases)
    func everyByteComesBackToAPlainSocket(variant: Variant, transport: Transport) throws {
        try withLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection(transport, receiving: false)
            let echo = try Echo(loop, endpoint)
            let bytes = pattern(300_000)
            var written = 0
            #expect(
                loop.reaches {
                    if written < bytes.count { written += max(0, peer.write(Array(bytes[written...]))) }
                    return peer.read().count == bytes.count
                })
            #expect(peer.received == bytes)
            #expect(echo.endpoint.received == bytes)
        }
    }
}

/// Sends back what it receives.
private final class Echo {
    let endpoint: Endpoint
    private var backlog: [UInt8] = []

    convenience init(_ loop: TestLoop, _ fd: Int32) throws { try self.init(loop, loop.open(fd)) }

    init(_ loop: TestLoop, _ endpoint: Endpoint) throws {
        self.endpoint = endpoint
        endpoint.onReceive = { [self] bytes in
            backlog += bytes
            flush(loop)
        }
        endpoint.onSent = { [self] in flush(loop) }
        #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
    }

    private func flush(_ loop: TestLoop) {
        guard endpoint.outgoing == nil, !backlog.isEmpty else { return }
        #expect(endpoint.send(backlog, vectors: 3, on: loop) == 0)
        backlog = []
    }
}
