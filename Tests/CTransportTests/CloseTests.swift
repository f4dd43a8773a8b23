import CTransport
import Glibc
import Testing

@Suite struct CloseTests {
    /// A connection with a receive armed and a send blocked is closed: both end, then CLOSED, and the
    /// peer sees what was accepted for sending and then the end.
    @Test(arguments: Variant.all, Transport.allCases)
    func closingEndsReceiveAndSend(variant: Variant, transport: Transport) throws {
        try withLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection(transport)
            ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
            let bytes = pattern(2_000_000)
            #expect(endpoint.send(bytes, on: loop) == 0)
            loop.settle()
            #expect(endpoint.slot.pointee.receive_armed && endpoint.slot.pointee.sends_in_flight == 1)
            loop.close(endpoint)
            #expect(loop.reaches { endpoint.isClosed })
            let over = endpoint.happenings.drop { if case .sent = $0 { true } else { false } }
            #expect(Set(over.dropLast().map { "\($0)" }) == ["endOfStream", "sendFailed(\(EPIPE))"])
            #expect(over.count == 3 && over.last == .closed)
            #expect(loop.reaches { peer.isAtEnd })
            let accepted = endpoint.happenings.reduce(0) { if case .sent(let n) = $1 { $0 + n } else { $0 } }
            #expect(peer.received == Array(bytes[..<accepted]))
        }
    }

    /// Everything at once on one loop: listeners, connects, receives, sends, in every state; all slots come free, once.
    @Test(arguments: Engine.available)
    func everySlotComesFreeOnce(engine: Engine) throws {
        try withLoop(engine) { loop in
            let full = try Listener(backlog: 0)
            let first = try full.connectPeer()
            var peers = [first]
            for i in 0..<40 {
                let listener = try loop.open(Listener().fd, listener: true)
                #expect(ct_accept_start(loop.loop, listener.slot) == 0)
                let connecting = try loop.open(full.socket())
                #expect(loop.connect(connecting, to: full.address) == 0)
                let (endpoint, peer) = try loop.connection(Transport.allCases[i % 3], receiving: i % 4 != 0)
                if i % 5 != 0 { #expect(endpoint.send(pattern(1_000_000), vectors: 4, on: loop) == 0) }
                if i % 2 == 0 { peer.write(pattern(20_000)) }
                if i % 7 == 0 { peer.reset() }
                peers.append(peer)
                if i % 10 == 0 { loop.turn() }
            }
            for endpoint in loop.endpoints.values { loop.close(endpoint) }
            #expect(loop.reaches { loop.statistics.slots_open == 0 })
            close(full.fd)
        }
    }

    /// Closing right behind a send that the kernel took delivers its bytes: no reset because of bytes we had not read
    /// (the receive drains them first, in as many pieces as it takes).
    @Test(arguments: Variant.all, Transport.allCases)
    func unreadBytesDoNotReset(variant: Variant, transport: Transport) throws {
        try withLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection(transport)
            loop.settle()
            #expect(endpoint.send(pattern(1000), on: loop) == 0)
            #expect(loop.reaches { endpoint.happenings == [.sent(bytes: 1000)] })
            // What TCP has not taken in when we shut down is refused with a reset by the kernel itself.
            let unread = transport == .tcp ? 30_000 : 150_000
            try #require(peer.write(pattern(unread)) == unread)
            loop.close(endpoint)
            #expect(loop.reaches { endpoint.isClosed })
            #expect(loop.reaches { peer.isOver })
            #expect(peer.failure == 0)
            #expect(peer.received == pattern(1000))
            #expect(peer.takeError() == 0)
        }
    }

    /// SO_LINGER 0: the peer gets a reset and no end of stream before it; nothing in flight stays.
    @Test(arguments: Variant.all)
    func aResetIsNoEndOfStream(variant: Variant) throws {
        try withLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection(.tcp)
            ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
            #expect(endpoint.send(pattern(2_000_000), on: loop) == 0)
            loop.settle()
            #expect(endpoint.slot.pointee.receive_armed && endpoint.slot.pointee.sends_in_flight == 1)
            peer.write(pattern(1000))
            ct_slot_reset(loop.loop, endpoint.slot)
            #expect(loop.reaches { endpoint.isClosed })
            #expect(endpoint.happenings.contains(.sendFailed(ECANCELED)))
            #expect(!endpoint.happenings.contains(.endOfStream))
            #expect(loop.reaches { peer.isOver })
            #expect(peer.failure == ECONNRESET)
        }
    }

    /// Everything at once, with resets instead of closes, Unix sockets included.
    @Test(arguments: Variant.all, Transport.allCases)
    func everySlotComesFreeAfterResets(variant: Variant, transport: Transport) throws {
        try withLoop(variant) { loop in
            for round in 0..<20 {
                let (endpoint, peer) = try loop.connection(transport)
                ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
                peer.write(pattern(100_000))
                if round % 2 == 0 { loop.turn() }
                if round % 3 == 0 { #expect(endpoint.send(pattern(1_000_000), on: loop) == 0) }
                ct_slot_reset(loop.loop, endpoint.slot)
                try #require(loop.reaches { endpoint.isClosed })
            }
        }
    }

    /// The peer was faster: closing a connection it has reset ends as quietly.
    @Test(arguments: Engine.available)
    func aResetConnectionClosesQuietly(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(.tcp)
            loop.settle()
            peer.reset()
            loop.close(endpoint)
            #expect(loop.reaches { endpoint.isClosed })
            let (blocked, blockedPeer) = try loop.connection(.tcp)
            ct_socket_set_int(blocked.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
            #expect(blocked.send(pattern(2_000_000), on: loop) == 0)
            loop.settle()
            blockedPeer.reset()
            loop.close(blocked)
            #expect(loop.reaches { blocked.isClosed })
        }
    }

    /// Closed before the loop has turned once: what was queued never starts, or ends, but the slot comes free, and without
    /// the peer's help, who has written something and does not react to our end of stream. The receive that takes those
    /// bytes is armed behind the shutdown, which therefore wakes nobody.
    @Test(arguments: Variant.all, Transport.allCases)
    func whatIsClosedBeforeTheFirstTurnComesFree(variant: Variant, transport: Transport) throws {
        try withLoop(variant) { loop in
            for round in 0..<20 {
                let (endpoint, peer) = try loop.connection(transport)
                if round % 2 == 0 { #expect(endpoint.send(pattern(10), on: loop) == 0) }
                peer.write([1, 2, 3])
                loop.close(endpoint)
                // Turns that do not wait: a later acknowledgement from the peer's kernel comes too late to help.
                for _ in 0..<20 where !endpoint.isClosed { loop.turn(deadline: 0) }
                #expect(endpoint.isClosed)
                #expect(endpoint.happenings.last == .closed)
            }
        }
    }

    /// Closing from within the turn that delivered the bytes, again and again with reused slots: every event finds the
    /// owner it was meant for.
    @Test(arguments: Engine.available)
    func everyEventFindsItsOwner(engine: Engine) throws {
        try withLoop(engine) { loop in
            for round in 0..<300 {
                let (endpoint, peer) = try loop.connection()
                let bytes = pattern(20, seed: round)
                endpoint.onReceive = { [unowned endpoint] _ in loop.close(endpoint) }
                peer.write(bytes)
                if round % 3 == 0 { peer.close() }
                #expect(loop.reaches { endpoint.isClosed })
                #expect(endpoint.received == bytes)
            }
            #expect(loop.statistics.slots_open == 0)
        }
    }
}
