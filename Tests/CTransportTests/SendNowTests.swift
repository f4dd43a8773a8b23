import CTransport
import Glibc
import Testing

/// The send that does not wait for the turn's end.
@Suite struct SendNowTests {
    private func sendNow(_ bytes: [UInt8], vectors: Int = 1, _ endpoint: Endpoint, _ loop: TestLoop) -> Int {
        bytes.withUnsafeBytes { memory in
            let piece = max(1, (bytes.count + vectors - 1) / vectors)
            let vectors = stride(from: 0, to: bytes.count, by: piece).map {
                iovec(
                    iov_base: UnsafeMutableRawPointer(mutating: memory.baseAddress! + $0),
                    iov_len: min(piece, bytes.count - $0))
            }
            return Int(ct_send_now(loop.loop, endpoint.slot, vectors, UInt32(vectors.count)))
        }
    }

    /// The peer has the bytes when the call is over; no event follows; it is counted like any send.
    @Test(arguments: Engine.available, Transport.allCases)
    func sendsWithinTheCall(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            for receiving in [false, true] {
                let (endpoint, peer) = try loop.connection(transport, receiving: receiving)
                let before = loop.statistics
                #expect(sendNow(pattern(3000), vectors: 7, endpoint, loop) == 3000)
                #expect(sendNow([1], endpoint, loop) == 1)
                #expect(loop.statistics.sends - before.sends == 2)
                #expect(loop.statistics.sent_bytes - before.sent_bytes == 3001)
                #expect(loop.statistics.turns == before.turns)
                #expect(loop.reaches { peer.read().count == 3001 })
                #expect(peer.received == pattern(3000) + [1])
                loop.settle()
                #expect(endpoint.happenings.isEmpty)
            }
        }
    }

    /// A peer that does not read: a part, then -EAGAIN. A send that is started then waits until the peer reads and is not
    /// forgotten, and the order of the bytes is that of the calls.
    @Test(arguments: Engine.available, Transport.allCases)
    func blockedSendsGoOn(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(transport)
            ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
            var sent: [UInt8] = []
            for round in 0..<5 {
                var blocked = false
                while !blocked {
                    let bytes = pattern(50_000, seed: round)
                    let count = sendNow(bytes, vectors: 3, endpoint, loop)
                    blocked = count == -Int(EAGAIN)
                    try #require(count > 0 || blocked)
                    sent += bytes.prefix(max(0, count))
                }
                let rest = pattern(1000, seed: round)
                #expect(endpoint.send(rest, on: loop) == 0)
                sent += rest
                loop.turn(deadline: 0)
                #expect(loop.reaches { peer.read().count == sent.count && endpoint.outgoing == nil })
                // Writable again, and known to be: on epoll by the edge that ended the wait.
                #expect(sendNow([7], endpoint, loop) == 1)
                sent.append(7)
            }
            #expect(loop.reaches { peer.read().count == sent.count })
            let whole = peer.received == sent
            #expect(whole)
        }
    }

    /// When nothing waits for the room, the next call finds it all the same: the edge came meanwhile.
    @Test(arguments: Engine.available, Transport.allCases)
    func roomIsNoticedWithoutASendInFlight(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(transport)
            ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
            var sent = 0
            for _ in 0..<5 {
                while case let count = sendNow(pattern(50_000), endpoint, loop), count != -Int(EAGAIN) {
                    try #require(count > 0)
                    sent += count
                }
                #expect(loop.reaches { peer.read().count == sent })
                #expect(
                    loop.reaches {
                        let count = sendNow([1], endpoint, loop)
                        if count == 1 { sent += 1 }
                        return count == 1
                    })
            }
        }
    }

    /// A connection that is over says so, and a closing one takes nothing.
    @Test(arguments: Engine.available)
    func endsAreTold(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(.tcp, receiving: false)
            peer.reset()
            #expect(
                loop.reaches {
                    let count = sendNow([1], endpoint, loop)
                    return count == -Int(EPIPE) || count == -Int(ECONNRESET)
                })
            let (closing, _) = try loop.connection()
            loop.close(closing)
            #expect(sendNow([1], closing, loop) == -Int(EPIPE))
        }
    }

    /// The kernel tells of a reset once. When a send took the news, a receive must not take the rest for an end of stream.
    @Test(arguments: Engine.available)
    func aResetThatASendMetIsNoEndOfStream(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(.tcp, receiving: false)
            peer.reset()
            #expect(loop.reaches { sendNow([1], endpoint, loop) == -Int(ECONNRESET) })
            #expect(sendNow([1], endpoint, loop) == -Int(EPIPE))
            #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            #expect(loop.reaches { endpoint.happenings == [.receiveFailed(ECONNRESET)] })
        }
    }

    /// Nor does a reset behind the end of stream make that one less clean.
    @Test(arguments: Engine.available)
    func anEndOfStreamInFrontOfAResetStaysOne(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(.tcp, receiving: false)
            peer.shutdownOutput()
            peer.reset()
            #expect(loop.reaches { sendNow([1], endpoint, loop) == -Int(EPIPE) })
            #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            #expect(loop.reaches { endpoint.happenings == [.endOfStream] })
        }
    }
}
