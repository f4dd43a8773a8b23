import CKernelFaults
import CTransport
import Glibc
import Testing

/// The kernel dropped completions and cannot say whose. The connections that had something in flight end with an error, all
/// others and the process go on.
@Suite(.enabled(if: ct_probe().pointee.uring)) struct DroppedCompletionsTests {
    /// The next wait loses completions.
    private func lose(_ loop: TestLoop) {
        ring_faults_lose()
        loop.turn(deadline: 0)
        #expect(ring_faults_left() == 0)
        loop.expectedOverflows += 1
    }

    private func withLosses(_ classicBuffers: Bool, _ body: (TestLoop) throws -> Void) throws {
        try withLoop(Variant(engine: .uring, classicBuffers: classicBuffers), body)
    }

    /// Whoever received, sent or connected is told that it failed, once, and so is the peer.
    @Test(arguments: [false, true])
    func whatWasInFlightFails(classicBuffers: Bool) throws {
        try withLosses(classicBuffers) { loop in
            let pairs = try Transport.allCases.map { try loop.connection($0) }
            let (sending, sendingPeer) = try loop.connection(.tcp)
            ct_socket_set_int(sending.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
            #expect(sending.send(pattern(2_000_000), on: loop) == 0)
            let full = try Listener(backlog: 0)
            defer { close(full.fd) }
            let filler = try full.connectPeer()
            let connecting = try loop.open(full.socket())
            #expect(loop.connect(connecting, to: full.address) == 0)
            for (_, peer) in pairs { peer.write(pattern(100)) }
            #expect(loop.reaches { pairs.allSatisfy { $0.0.received.count == 100 } })
            loop.settle()
            lose(loop)
            #expect(loop.reaches { pairs.allSatisfy { $0.0.happenings.last == .receiveFailed(ENOMEM) } })
            #expect(loop.reaches { connecting.happenings == [.connectFailed(ENOMEM)] })
            #expect(loop.reaches { sending.outgoing == nil && sending.happenings.contains(.receiveFailed(ENOMEM)) })
            #expect(sending.happenings.contains(.sendFailed(ENOMEM)))
            #expect(loop.reaches { pairs.allSatisfy { $0.1.isOver } && sendingPeer.isOver })
            for (endpoint, _) in pairs { #expect(endpoint.happenings.count == 2) }
            #expect(filler.fd >= 0)
        }
    }

    /// Who had nothing in flight notices nothing, listeners go on when they are asked to, and what is received afterwards
    /// is what was sent, again and again.
    @Test(arguments: [false, true])
    func theOthersGoOn(classicBuffers: Bool) throws {
        try withLosses(classicBuffers) { loop in
            let listener = try Listener()
            let server = try loop.open(listener.fd, listener: true)
            #expect(ct_accept_start(loop.loop, server.slot) == 0)
            let (idle, idlePeer) = try loop.connection(.tcp, receiving: false)
            idlePeer.write(pattern(1000))
            for round in 0..<5 {
                let (endpoint, peer) = try loop.connection(Transport.allCases[round % 3])
                peer.write(pattern(30_000, seed: round))
                #expect(loop.reaches { endpoint.received.count == 30_000 })
                #expect(endpoint.received == pattern(30_000, seed: round))
                lose(loop)
                #expect(loop.reaches { server.happenings.last == .acceptFailed(ENOMEM) })
                #expect(ct_accept_start(loop.loop, server.slot) == 0)
                let client = try listener.connectPeer()
                #expect(loop.reaches { server.acceptedDescriptors.count == round + 1 })
                client.close()
            }
            #expect(ct_receive_start(loop.loop, idle.slot) == 0)
            #expect(loop.reaches { idle.received == pattern(1000) })
            #expect(idle.send([1, 2, 3], on: loop) == 0)
            #expect(loop.reaches { idlePeer.read() == [1, 2, 3] })
            // Other threads still wake the loop.
            let mailbox = Handle(ct_loop_mailbox(loop.loop))
            let thread = TestThread { ct_mailbox_post(mailbox.pointer, ct_message()) }
            var message = ct_message()
            #expect(loop.wakes { ct_mailbox_take(loop.loop, &message, 1) > 0 })
            #expect(thread.join() == 0)
            for descriptor in server.acceptedDescriptors { close(descriptor) }
        }
    }

    /// What the kernel was lent cannot be used again, and takes nothing away from others: found in a simulated network, as a loop with
    /// little receive memory that received nothing any more.
    @Test func receiveMemoryIsThereAfterwards() throws {
        var options = ct_loop_options()
        options.chunk_size = 4096
        options.receive_budget = 4096
        try withLoop(Variant(engine: .uring), options: options) { loop in
            for round in 0..<3 {
                let (endpoint, peer) = try loop.connection(.tcp)
                peer.write(pattern(10_000, seed: round))
                #expect(loop.reaches { endpoint.received.count == 10_000 })
                #expect(endpoint.received == pattern(10_000, seed: round))
                lose(loop)
            }
        }
    }

    /// Connections that are closing, or whose zero-copy memory the kernel still reads, come to their end.
    @Test(arguments: [false, true])
    func whatIsClosingEnds(zeroCopy: Bool) throws {
        try withLosses(false) { loop in
            var ending: [Endpoint] = []
            for i in 0..<6 {
                let (endpoint, _) = try loop.connection(.tcp)
                ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
                #expect(endpoint.send(pattern(2_000_000), zeroCopy: zeroCopy, on: loop) == 0)
                loop.settle()
                if i % 3 == 0 { loop.close(endpoint) }
                if i % 3 == 1 { ct_slot_reset(loop.loop, endpoint.slot) }
                ending.append(endpoint)
            }
            lose(loop)
            for endpoint in ending { loop.close(endpoint) }
            #expect(loop.reaches { ending.allSatisfy(\.isClosed) })
        }
    }

    /// Reset behind so many that closed at the same time that their own turn comes when the completions are gone: their
    /// notifications never come, and they are told as ended all the same.
    @Test func resetsBehindManyClosesEnd() throws {
        let capacity = 64
        try withLoop(.uring, capacity: UInt32(capacity)) { loop in
            let reading = try (0..<3).map { _ in try loop.connection(.tcp) }
            for (endpoint, peer) in reading {
                ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 1 << 20)
                ct_socket_set_int(peer.fd, SOL_SOCKET, SO_RCVBUF, 16384)
                ct_receive_stop(loop.loop, endpoint.slot)
                #expect(endpoint.send(pattern(400_000), zeroCopy: true, on: loop) == 0)
            }
            #expect(loop.reaches { reading.allSatisfy { $0.0.outgoing == nil && !$0.0.slot.pointee.receive_armed } })
            try #require(reading.allSatisfy { $0.0.slot.pointee.notifications_in_flight > 0 })
            // As many as may close in a turn (ct_loop_run_once).
            let idle = try (0..<capacity / 8).map { _ in try loop.connection(receiving: false).0 }
            for endpoint in idle { loop.close(endpoint) }
            for (endpoint, _) in reading { ct_slot_reset(loop.loop, endpoint.slot) }
            lose(loop)
            #expect(idle.allSatisfy { $0.isClosed })
            #expect(reading.allSatisfy { $0.0.slot.pointee.state == CT_SLOT_TO_CLOSE })
            #expect(loop.reaches { reading.allSatisfy { $0.0.isClosed } })
        }
    }
}
