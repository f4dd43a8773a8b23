import CTransport
import Glibc
import Testing

/// close(2) with bytes unread is a reset, which destroys what the kernel had accepted of ours. A close that is no reset must
/// not become one because nobody wanted to read.
@Suite struct UnreadInputTests {
    /// The peer gets all of what the kernel took from us, then the end, and no reset behind it.
    private func expectDelivered(_ expected: [UInt8], to peer: Peer, on loop: TestLoop) {
        #expect(loop.reaches { peer.isOver })
        #expect(peer.failure == 0)
        let whole = peer.received == expected
        #expect(whole, "\(peer.received.count) of \(expected.count) bytes")
        #expect(peer.takeError() == 0)
    }

    /// Reading was never on: nothing at all is in flight when the connection is closed.
    @Test(arguments: Engine.available, Transport.allCases)
    func closeWithReadingOffDelivers(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(transport, receiving: false)
            peer.write(pattern(100))
            #expect(endpoint.send(pattern(60_000), on: loop) == 0)
            #expect(loop.reaches { endpoint.outgoing == nil })
            loop.close(endpoint)
            #expect(loop.reaches { endpoint.isClosed })
            expectDelivered(pattern(60_000), to: peer, on: loop)
        }
    }

    /// Reading was switched off, long ago or in the turn of the close.
    @Test(arguments: Variant.all, Transport.allCases)
    func closeAfterReadingWasSwitchedOffDelivers(variant: Variant, transport: Transport) throws {
        try withLoop(variant) { loop in
            for settles in [false, true] {
                let (endpoint, peer) = try loop.connection(transport)
                loop.settle()
                #expect(endpoint.send(pattern(60_000), on: loop) == 0)
                #expect(loop.reaches { endpoint.outgoing == nil })
                ct_receive_stop(loop.loop, endpoint.slot)
                if settles { loop.settle() }
                peer.write(pattern(200_000))
                loop.close(endpoint)
                #expect(loop.reaches { endpoint.isClosed })
                expectDelivered(pattern(60_000), to: peer, on: loop)
            }
        }
    }

    /// No receive memory is left for a connection that closes.
    @Test(arguments: Variant.all, Transport.allCases)
    func closeWithoutReceiveMemoryDelivers(variant: Variant, transport: Transport) throws {
        try withLoop(variant, options: ct_loop_options(chunkSize: 4096, chunksLent: 1, receiveBudget: 4096)) { loop in
            let (hog, hogPeer) = try loop.connection()
            let (endpoint, peer) = try loop.connection(transport)
            loop.settle()
            loop.keepsChunks = true
            hogPeer.write(pattern(4096))
            #expect(loop.reaches { hog.received.count == 4096 })
            loop.keepsChunks = false
            #expect(endpoint.send(pattern(60_000), on: loop) == 0)
            #expect(loop.reaches { endpoint.outgoing == nil })
            peer.write(pattern(10_000))
            loop.close(endpoint)
            #expect(loop.reaches { endpoint.isClosed })
            #expect(endpoint.received.isEmpty)
            expectDelivered(pattern(60_000), to: peer, on: loop)
        }
    }

    /// Much was unread, and it is read away in pieces over several turns: the others have theirs in between.
    @Test(arguments: Engine.available)
    func muchUnreadInputIsReadAwayOverSeveralTurns(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(.tcp, receiving: false)
            let (other, otherPeer) = try loop.connection()
            ct_socket_set_int(peer.fd, SOL_SOCKET, SO_SNDBUF, 4 << 20)
            ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_RCVBUF, 4 << 20)
            let bytes = pattern(100_000)
            var written = 0
            while case let count = peer.write(bytes), count > 0 { written += count }
            try #require(written > 1 << 20)
            #expect(endpoint.send(pattern(60_000), on: loop) == 0)
            #expect(loop.reaches { endpoint.outgoing == nil })
            loop.settle()
            loop.close(endpoint)
            otherPeer.write(pattern(10))
            #expect(loop.reaches { other.received.count == 10 })
            #expect(!endpoint.isClosed, "somebody else's turn came first")
            #expect(loop.reaches { endpoint.isClosed })
            expectDelivered(pattern(60_000), to: peer, on: loop)
        }
    }

    /// A peer that waits to write, because nobody has read for long, is told that nobody will: a window that has been shut
    /// never opens again once the input is shut too, and who waits for it hears nothing until the kernel gives up.
    @Test(arguments: Variant.all, Transport.allCases)
    func closeTellsAPeerThatWaitsToWrite(variant: Variant, transport: Transport) throws {
        try withLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection(transport, receiving: false)
            let bytes = pattern(1 << 16)
            // Beyond the kernel's first look at a window that is nearly shut, which shuts it for good: then it asks in vain.
            #expect(
                loop.reaches {
                    while peer.write(bytes) > 0 {}
                    return transport != .tcp || peer.windowIsShut
                })
            #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            loop.close(endpoint)
            #expect(loop.reaches { endpoint.isClosed })
            var last = 0
            #expect(
                loop.reaches {
                    last = peer.write(bytes)
                    return last < 0 && last != -Int(EAGAIN)
                })
            #expect(last == -Int(EPIPE) || last == -Int(ECONNRESET), "\(last)")
        }
    }

    /// A peer that never stops writing does not keep the connection: after a bounded number of turns it is closed with
    /// what is unread, which tells that peer that nobody reads.
    @Test(arguments: Engine.available, Transport.allCases)
    func aCloseEndsDespiteAFlood(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(transport, receiving: false)
            let fd = peer.fd
            let flooder = TestThread {
                let bytes = pattern(1 << 16)
                while Glibc.send(fd, bytes, bytes.count, Int32(MSG_NOSIGNAL)) > 0 {}
                return errno
            }
            var unread: Int32 = 0
            #expect(
                loop.reaches {
                    _ = ioctl(endpoint.slot.pointee.fd, UInt(FIONREAD), &unread)
                    return unread > 0
                })
            let before = loop.statistics.turns
            loop.close(endpoint)
            while !endpoint.isClosed && loop.statistics.turns - before < 200 { loop.turn(deadline: 0) }
            #expect(endpoint.isClosed)
            let error = flooder.join()
            #expect(error == EPIPE || error == ECONNRESET)
        }
    }
}

extension Peer {
    /// The kernel has asked a window that is shut whether it is open again, and will ask less and less often.
    fileprivate var windowIsShut: Bool {
        // struct tcp_info begins with state, ca_state, retransmits, probes, backoff.
        var info: (UInt8, UInt8, UInt8, UInt8, UInt8) = (0, 0, 0, 0, 0)
        var length = socklen_t(MemoryLayout.size(ofValue: info))
        return getsockopt(fd, Int32(IPPROTO_TCP), TCP_INFO, &info, &length) == 0 && info.4 > 0
    }
}
