import CTransport
import Glibc
import Testing

/// Closing while the kernel still reads the memory of zero-copy sends. Only io_uring has them; on epoll the same calls copy,
/// and the same must come of it.
@Suite struct ZeroCopyCloseTests {
    /// A connection whose kernel has accepted more without a copy than the peer's window takes.
    private func sending(on loop: TestLoop, _ engine: Engine) throws -> (Endpoint, Peer, accepted: Int) {
        let (endpoint, peer) = try loop.connection(.tcp)
        ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 1 << 20)
        ct_socket_set_int(peer.fd, SOL_SOCKET, SO_RCVBUF, 16384)
        #expect(endpoint.send(pattern(400_000), zeroCopy: true, on: loop) == 0)
        #expect(loop.reaches { endpoint.outgoing == nil })
        loop.settle()
        if engine == .uring { try #require(endpoint.slot.pointee.notifications_in_flight > 0) }
        return (endpoint, peer, 400_000)
    }

    /// The descriptor stays while a notification is out, so that whoever loses patience can still reset the connection; and
    /// the peer that reads gets everything and the end of the stream.
    @Test(arguments: Engine.available)
    func closeKeepsTheDescriptorUntilThePeerHasRead(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer, accepted) = try sending(on: loop, engine)
            let fd = endpoint.slot.pointee.fd
            loop.close(endpoint)
            loop.settle()
            if engine == .uring {
                #expect(!endpoint.isClosed)
                #expect(endpoint.slot.pointee.fd == fd && fcntl(fd, F_GETFD) >= 0)
            }
            #expect(loop.reaches { peer.isOver && endpoint.isClosed })
            #expect(peer.failure == 0)
            let whole = peer.received == pattern(accepted)
            #expect(whole, "\(peer.received.count) of \(accepted) bytes")
        }
    }

    /// Closed with a peer that never reads, then reset: nothing is waited for any more.
    @Test(arguments: Engine.available, [false, true])
    func resetEndsACloseThatWaitsForNotifications(engine: Engine, inTheSameTurn: Bool) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer, _) = try sending(on: loop, engine)
            loop.close(endpoint)
            if !inTheSameTurn { loop.settle() }
            guard !endpoint.isClosed else { return }  // epoll: nothing was outstanding
            ct_slot_reset(loop.loop, endpoint.slot)
            ct_slot_reset(loop.loop, endpoint.slot)
            #expect(loop.reaches { endpoint.isClosed })
            #expect(loop.reaches { peer.isOver })
            #expect(peer.failure == ECONNRESET)
        }
    }

    /// Reset while the send itself is blocked.
    @Test(arguments: Engine.available, [false, true])
    func resetEndsAClosingConnectionWhoseSendIsBlocked(engine: Engine, zeroCopy: Bool) throws {
        try withLoop(engine) { loop in
            for turns in 0..<3 {
                let (endpoint, peer) = try loop.connection(.tcp)
                ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
                #expect(endpoint.send(pattern(2_000_000), zeroCopy: zeroCopy, on: loop) == 0)
                loop.settle()
                #expect(endpoint.slot.pointee.sends_in_flight == 1)
                peer.write(pattern(1000))
                loop.close(endpoint)
                for _ in 0..<turns where !endpoint.isClosed { loop.turn(deadline: 0) }
                guard !endpoint.isClosed else { continue }
                ct_slot_reset(loop.loop, endpoint.slot)
                ct_slot_reset(loop.loop, endpoint.slot)
                #expect(loop.reaches { endpoint.isClosed })
                // The end of the stream may have been on its way already; the reset is behind it then.
                #expect(loop.reaches { peer.isOver })
                #expect(peer.failure == ECONNRESET || peer.takeError() == EPIPE)
            }
        }
    }

    /// Input that nobody read does not turn the close into a reset when the last notification comes.
    @Test(arguments: Engine.available)
    func unreadInputBehindNotificationsDoesNotReset(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer, accepted) = try sending(on: loop, engine)
            ct_receive_stop(loop.loop, endpoint.slot)
            loop.settle()
            peer.write(pattern(1000))
            loop.close(endpoint)
            loop.settle()
            #expect(loop.reaches { peer.isOver && endpoint.isClosed })
            #expect(peer.failure == 0)
            let whole = peer.received == pattern(accepted)
            #expect(whole, "\(peer.received.count) of \(accepted) bytes")
        }
    }
}
