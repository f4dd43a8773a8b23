import CTransport
import Glibc
import Testing

@Suite struct EndOfStreamTests {
    /// What the peer wrote before it stopped writing is delivered before the end of the stream, and our side can still
    /// answer (half-close).
    @Test(arguments: Variant.all, Transport.allCases)
    func theEndComesBehindTheData(variant: Variant, transport: Transport) throws {
        try withLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection(transport)
            let bytes = pattern(150_000)
            var written = 0
            #expect(
                loop.reaches {
                    if written < bytes.count { written += max(0, peer.write(Array(bytes[written...]))) }
                    return written == bytes.count
                })
            peer.shutdownOutput()
            #expect(loop.reaches { endpoint.happenings.last == .endOfStream })
            #expect(endpoint.happenings == [.received(bytes: bytes.count), .endOfStream])
            #expect(endpoint.received == bytes)
            #expect(!endpoint.slot.pointee.receive_armed)
            #expect(!endpoint.slot.pointee.receive_wanted)
            #expect(endpoint.send([1, 2, 3], on: loop) == 0)
            #expect(loop.reaches { peer.read() == [1, 2, 3] })
        }
    }

    /// Data and end of stream that are there before the receive is armed, for one byte too: the end is not missed behind
    /// a read that leaves room in the buffer (liburing#1549; epoll: a short read).
    @Test(arguments: Variant.all, Transport.allCases)
    func anEndBeforeTheReceiveIsNotMissed(variant: Variant, transport: Transport) throws {
        try withLoop(variant) { loop in
            let (endpoint, peer) = try loop.connection(transport, receiving: false)
            peer.write([7])
            peer.close()
            loop.settle()
            #expect(endpoint.happenings.isEmpty)
            #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            #expect(loop.reaches { endpoint.happenings == [.received(bytes: 1), .endOfStream] })
        }
    }

    /// Many small writes and an end, over and over: neither engine loses the end in a race (liburing#1549).
    @Test(arguments: Engine.available, Transport.allCases)
    func theEndIsNeverMissed(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            for round in 0..<50 {
                let (endpoint, peer) = try loop.connection(transport)
                for _ in 0..<(round % 5) { peer.write([1, 2, 3]) }
                if round % 2 == 0 { loop.turn() }
                peer.write([9])
                peer.shutdownOutput()
                try #require(loop.reaches { endpoint.happenings.last == .endOfStream })
                #expect(endpoint.received.count == 3 * (round % 5) + 1)
                loop.close(endpoint)
            }
        }
    }

    /// A receive that is started again after the end meets the end again.
    @Test(arguments: Engine.available)
    func theEndIsMetAgain(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection()
            peer.close()
            #expect(loop.reaches { endpoint.happenings == [.endOfStream] })
            #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            #expect(loop.reaches { endpoint.happenings == [.endOfStream, .endOfStream] })
        }
    }

    /// Behind the end the loss of the connection is told once, whether it comes later or was there before the watch began.
    @Test(arguments: Engine.available)
    func aLossBehindTheEndIsTold(engine: Engine) throws {
        try withLoop(engine) { loop in
            for isEarly in [false, true] {
                let (endpoint, peer) = try loop.connection(.tcp)
                peer.shutdownOutput()
                #expect(loop.reaches { endpoint.happenings == [.endOfStream] })
                if isEarly { peer.reset() }
                #expect(ct_loss_watch(loop.loop, endpoint.slot) == 0)
                if !isEarly {
                    loop.settle()
                    #expect(endpoint.happenings == [.endOfStream])
                    peer.reset()
                }
                #expect(loop.reaches { endpoint.happenings == [.endOfStream, .receiveFailed(EPIPE)] })
                loop.settle()
                #expect(endpoint.happenings.count == 2)
                #expect(!endpoint.slot.pointee.receive_armed)
            }
        }
    }

    /// A receive that was started again before the watch began meets the end once more, untold, and then watches too.
    @Test(arguments: Engine.available)
    func aReceiveInFlightBecomesAWatch(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(.tcp)
            peer.shutdownOutput()
            #expect(loop.reaches { endpoint.happenings == [.endOfStream] })
            #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            #expect(ct_loss_watch(loop.loop, endpoint.slot) == 0)
            loop.settle()
            #expect(endpoint.happenings == [.endOfStream])
            peer.reset()
            #expect(loop.reaches { endpoint.happenings == [.endOfStream, .receiveFailed(EPIPE)] })
        }
    }

    /// What waits for a loss that never comes holds up no close, with our own output ended before or not.
    @Test(arguments: Engine.available, Transport.allCases)
    func waitingForALossHoldsUpNoClose(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            for endsOutput in [false, true] {
                let (endpoint, peer) = try loop.connection(transport)
                peer.shutdownOutput()
                #expect(loop.reaches { endpoint.happenings == [.endOfStream] })
                #expect(ct_loss_watch(loop.loop, endpoint.slot) == 0)
                loop.settle()
                if endsOutput { #expect(ct_socket_shutdown_output(endpoint.slot.pointee.fd) == 0) }
                loop.settle()
                ct_slot_close(loop.loop, endpoint.slot)
                #expect(loop.reaches { endpoint.happenings.last == .closed })
                #expect(endpoint.happenings == [.endOfStream, .closed])
            }
        }
    }

    /// H5: a reset is an error and not an end, after which nothing is armed.
    @Test(arguments: Engine.available)
    func aResetIsAnError(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(.tcp)
            loop.settle()
            peer.reset()
            #expect(loop.reaches { endpoint.happenings == [.receiveFailed(ECONNRESET)] })
            #expect(!endpoint.slot.pointee.receive_armed)
            #expect(endpoint.send([1], on: loop) == 0)
            #expect(loop.reaches { endpoint.happenings.count == 2 })
            #expect(endpoint.happenings.last == .sendFailed(EPIPE))
        }
    }

    /// A reset behind bytes, both there before the receive looks: the bytes are delivered and the reset is not missed,
    /// or a dead connection would stay forever.
    @Test(arguments: Variant.all)
    func aResetBehindDataIsNotMissed(variant: Variant) throws {
        try withLoop(variant) { loop in
            for round in 0..<20 {
                let (endpoint, peer) = try loop.connection(.tcp, receiving: false)
                peer.write(pattern(100))
                peer.reset()
                if round % 2 == 0 { loop.settle() }
                #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
                try #require(loop.reaches { endpoint.happenings.last == .receiveFailed(ECONNRESET) })
                #expect(endpoint.happenings.count <= 2)
            }
        }
    }

    /// The same for a receive that has been armed for long, which on many kernels takes the bytes and does not see what came
    /// with them (liburing#1549; 6.8 to 6.18).
    @Test(arguments: Variant.all)
    func anOldReceiveDoesNotMissAResetBehindData(variant: Variant) throws {
        try withLoop(variant) { loop in
            for _ in 0..<10 {
                let (endpoint, peer) = try loop.connection(.tcp)
                for count in 1...3 {
                    peer.write([5])
                    try #require(loop.reaches { endpoint.received.count == count })
                }
                loop.settle()
                peer.write(pattern(100))
                peer.reset()
                try #require(loop.reaches { endpoint.happenings.last == .receiveFailed(ECONNRESET) })
            }
        }
    }

    /// Our own close is such an end too: bytes that came before it, and that nobody has looked at yet, do not hide it.
    @Test(arguments: Variant.all, Transport.allCases)
    func bytesDoNotHideOurOwnClose(variant: Variant, transport: Transport) throws {
        try withLoop(variant) { loop in
            for _ in 0..<10 {
                let (endpoint, peer) = try loop.connection(transport)
                peer.write([5])
                try #require(loop.reaches { endpoint.received.count == 1 })
                loop.settle()
                peer.write(pattern(100))
                loop.close(endpoint)
                try #require(loop.reaches { endpoint.isClosed })
            }
        }
    }
}
