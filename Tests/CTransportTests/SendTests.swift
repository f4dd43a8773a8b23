import CTransport
import Glibc
import Testing

@Suite struct SendTests {
    /// A gathering send puts its pieces on the wire in order (W16, W23).
    @Test(arguments: Engine.available, Transport.allCases)
    func aGatheringSendKeepsTheOrder(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(transport)
            let bytes = pattern(3000)
            #expect(endpoint.send(bytes, vectors: 1000, on: loop) == 0)
            #expect(endpoint.slot.pointee.sends_in_flight == 1)
            #expect(loop.reaches { endpoint.outgoing == nil && peer.read().count == 3000 })
            #expect(endpoint.happenings == [.sent(bytes: 3000)])
            #expect(endpoint.slot.pointee.sends_in_flight == 0)
            #expect(peer.received == bytes)
        }
    }

    /// The result of a send is never told within the call: it is an event of a later turn.
    @Test(arguments: Engine.available)
    func theResultComesWithTheNextTurn(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, _) = try loop.connection(receiving: false)
            #expect(endpoint.send([1], on: loop) == 0)
            #expect(endpoint.happenings.isEmpty && endpoint.slot.pointee.sends_in_flight == 1)
            loop.turn(deadline: loop.now + TestLoop.guardNanos)
            #expect(endpoint.happenings == [.sent(bytes: 1)])
        }
    }

    /// W19, W27: a peer that does not read blocks the send, with the operation in flight and no event; when it reads, the
    /// send goes on, and every byte arrives once.
    @Test(arguments: Engine.available, Transport.allCases)
    func aSlowReaderBlocksTheSend(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(transport)
            ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
            let bytes = pattern(2_000_000)
            #expect(endpoint.send(bytes, on: loop) == 0)
            loop.settle()
            #expect(endpoint.slot.pointee.sends_in_flight == 1)
            #expect(endpoint.outgoing != nil)
            #expect(loop.reaches { peer.read().count == bytes.count && endpoint.outgoing == nil })
            #expect(peer.received == bytes)
            #expect(loop.statistics.sent_bytes == UInt64(bytes.count))
        }
    }

    /// A send blocked by a peer that resets ends with an error.
    @Test(arguments: Engine.available)
    func resetEndsABlockedSend(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(.tcp, receiving: false)
            ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
            #expect(endpoint.send(pattern(2_000_000), on: loop) == 0)
            loop.settle()
            #expect(endpoint.slot.pointee.sends_in_flight == 1)
            peer.reset()
            #expect(loop.reaches { endpoint.outgoing == nil })
            let last = endpoint.happenings.last
            #expect(last == .sendFailed(ECONNRESET) || last == .sendFailed(EPIPE))
            #expect(endpoint.slot.pointee.sends_in_flight == 0)
        }
    }

    /// Receiving goes on while a send is blocked: two peers that both write first do not lock each other out.
    @Test(arguments: Engine.available)
    func aBlockedSenderReceives(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(.tcp)
            ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
            #expect(endpoint.send(pattern(2_000_000), on: loop) == 0)
            loop.settle()
            #expect(endpoint.slot.pointee.sends_in_flight == 1)
            peer.write(pattern(1000))
            #expect(loop.reaches { endpoint.received == pattern(1000) })
        }
    }

    /// Zero-copy is a request: where the kernel copies after all, the bytes arrive the same, and each send that said
    /// "more follows" is followed by exactly one notification.
    @Test(arguments: Engine.available)
    func everyZeroCopySendIsNotifiedOnce(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(.tcp)
            let bytes = pattern(100_000)
            #expect(endpoint.send(bytes, zeroCopy: true, on: loop) == 0)
            #expect(
                loop.reaches {
                    peer.read().count == bytes.count && endpoint.outgoing == nil
                        && endpoint.slot.pointee.notifications_in_flight == 0
                })
            #expect(peer.received == bytes)
            let sends = endpoint.happenings.count { if case .sent = $0 { true } else { false } }
            let notifications = endpoint.happenings.count { $0 == .notified }
            #expect(notifications == (engine == .uring ? sends : 0))
        }
    }

    /// Results and notifications of zero-copy sends say which send they belong to, the largest tag too; plain sends have
    /// tag 0, and a slot far from the first keeps its events to itself.
    @Test(arguments: Engine.available)
    func zeroCopyEventsCarryTheTagOfTheirSend(engine: Engine) throws {
        try withLoop(engine) { loop in
            var pairs: [(Endpoint, Peer)] = []
            for _ in 0..<40 { pairs.append(try loop.connection(.tcp)) }
            for (i, (endpoint, peer)) in pairs.enumerated() where i % 13 == 0 {
                let first = UInt16(CT_SEND_TAG_MAX) - 3
                endpoint.tag = first
                for _ in 0..<8 {
                    // Nobody reads meanwhile: notifications stay out while more is sent.
                    #expect(endpoint.send(pattern(40_000), zeroCopy: true, on: loop) == 0)
                    #expect(loop.reaches { endpoint.outgoing == nil })
                }
                let sends = endpoint.sentTags.count
                #expect(endpoint.sentTags == (0..<sends).map { (first + UInt16($0)) % UInt16(CT_SEND_TAG_MAX + 1) })
                #expect(
                    loop.reaches {
                        peer.read().count == 320_000 && endpoint.slot.pointee.notifications_in_flight == 0
                    })
                #expect(endpoint.notifiedTags.sorted() == endpoint.owedTags.sorted())
                if engine == .uring { #expect(endpoint.owedTags == endpoint.sentTags) }
                #expect(endpoint.send([1], on: loop) == 0)
                #expect(loop.reaches { endpoint.outgoing == nil })
                #expect(endpoint.sentTags.last == 0)
                #expect(Set(peer.read().suffix(1)) == [1])
            }
        }
    }
}
