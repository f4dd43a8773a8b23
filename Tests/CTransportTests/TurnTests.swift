import CTransport
import Glibc
import Testing

@Suite struct TurnTests {
    /// "One turn, one system call": however many connections have something to say.
    @Test(arguments: Engine.available)
    func aTurnHasOneEnter(engine: Engine) throws {
        try withLoop(engine) { loop in
            let pairs = try (0..<100).map { _ in try loop.connection() }
            loop.settle()
            for round in 1...20 {
                for (_, peer) in pairs { peer.write(pattern(64)) }
                #expect(loop.reaches { pairs.allSatisfy { $0.0.received.count == 64 * round } })
                for (endpoint, _) in pairs { #expect(endpoint.send(pattern(64), on: loop) == 0) }
                #expect(loop.reaches { pairs.allSatisfy { $0.0.outgoing == nil } })
            }
            let statistics = loop.statistics
            #expect(statistics.enters <= statistics.turns)
            #expect(statistics.enters_queue_full == 0)
            #expect(statistics.receives == 100 * 20 && statistics.sends == 100 * 20)
        }
    }

    /// Whatever the size of the ring, its completion queue holds what one enter can bring (the core asserts it), and a full
    /// submission queue is handed over within the turn.
    @Test(
        .enabled(if: ct_probe().pointee.uring),
        arguments: [1, 2, 7, 8, 64, 1000, 3840, 4096, 32768, 100_000] as [UInt32])
    func ringsOfEverySizeWork(entries: UInt32) throws {
        var options = ct_loop_options()
        options.submission_entries = entries
        try withLoop(.uring, options: options) { loop in
            let pairs = try (0..<100).map { _ in try loop.connection() }
            for round in 1...3 {
                for (endpoint, _) in pairs { #expect(endpoint.send(pattern(100), vectors: round, on: loop) == 0) }
                #expect(loop.reaches { pairs.allSatisfy { $0.0.outgoing == nil && $0.1.read().count == 100 * round } })
            }
        }
    }

    /// Five hundred connections on a ring of eight entries that all want the same at once: to be accepted, to receive, to
    /// send, to be closed. Every byte arrives at its own connection, and every end is told.
    @Test(arguments: Variant.all, Transport.withListener)
    func aShortQueueServesManyAtOnce(variant: Variant, transport: Transport) throws {
        let count = 500
        var options = ct_loop_options()
        options.submission_entries = 8
        try withLoop(variant, options: options) { loop in
            let listener = try Listener(transport, backlog: Int32(count))
            let server = try loop.open(listener.fd, listener: true)
            let peers = try (0..<count).map { _ in try listener.connectPeer() }
            // What a connection receives begins with whose it is.
            func message(_ peer: Int) -> [UInt8] { [UInt8(peer >> 8), UInt8(peer & 0xFF)] + pattern(3000, seed: peer) }
            func answer(_ peer: Int) -> [UInt8] { pattern(2000, seed: -peer) }
            for (index, peer) in peers.enumerated() { #expect(peer.write(message(index)) == message(index).count) }

            #expect(ct_accept_start(loop.loop, server.slot) == 0)
            try #require(loop.reaches { server.acceptedDescriptors.count == count })
            let ends = try server.acceptedDescriptors.map { try loop.open($0) }
            for end in ends { #expect(ct_receive_start(loop.loop, end.slot) == 0) }
            try #require(loop.reaches { ends.allSatisfy { $0.received.count == message(0).count } })
            let indices = ends.map { Int($0.received[0]) << 8 | Int($0.received[1]) }
            #expect(Set(indices).count == count)
            for (end, index) in zip(ends, indices) { #expect(end.received == message(index)) }

            // Each in a few pieces, so that the scratch is too small as well.
            for (end, index) in zip(ends, indices) { #expect(end.send(answer(index), vectors: 3, on: loop) == 0) }
            #expect(loop.reaches { ends.allSatisfy { $0.outgoing == nil } })
            // A third ends by its peer, a third by a reset of its peer, and a third by a cancel and the loop's own close.
            for (index, peer) in peers.enumerated() {
                #expect(peer.read() == answer(index))
                if index % 3 == 0 { peer.shutdownOutput() } else if index % 3 == 1 { peer.reset() }
            }
            for (end, index) in zip(ends, indices) where index % 3 == 2 { ct_receive_stop(loop.loop, end.slot) }
            let ended = zip(ends, indices).filter { $1 % 3 != 2 }.map(\.0)
            #expect(loop.reaches { ended.allSatisfy { $0.happenings.last != .sent(bytes: answer(0).count) } })
            let stopped = zip(ends, indices).filter { $1 % 3 == 2 }.map(\.0)
            #expect(loop.reaches { stopped.allSatisfy { !$0.slot.pointee.receive_armed } })
            for end in ends { loop.close(end) }
            #expect(loop.reaches { ends.allSatisfy(\.isClosed) })

            for (end, index) in zip(ends, indices) {
                var expected: [Happening] = [.received(bytes: message(0).count), .sent(bytes: answer(0).count)]
                if index % 3 == 0 { expected.append(.endOfStream) }
                if index % 3 == 1 { expected.append(transport == .tcp ? .receiveFailed(ECONNRESET) : .endOfStream) }
                #expect(end.happenings == expected + [.closed])
            }
            for (index, peer) in peers.enumerated() where index % 3 != 1 {
                #expect(peer.isAtEnd && peer.received == answer(index))
            }
            // The receives and the sends were far more than the queue holds.
            if variant.engine == .uring { #expect(loop.statistics.enters_queue_full >= 2 * (UInt64(count) / 8 - 1)) }
        }
    }

    /// The event array is never overrun, whatever is ready, and what did not fit comes later.
    @Test(arguments: Variant.all)
    func capacityIsRespected(variant: Variant) throws {
        try withLoop(variant, capacity: 64) { loop in
            let listener = try Listener()
            let server = try loop.open(listener.fd, listener: true)
            #expect(ct_accept_start(loop.loop, server.slot) == 0)
            let peers = try (0..<100).map { _ in try listener.connectPeer() }
            let pairs = try (0..<200).map { _ in try loop.connection() }
            for (endpoint, peer) in pairs {
                peer.write(pattern(20_000))
                peer.shutdownOutput()
                #expect(endpoint.send(pattern(10), on: loop) == 0)
            }
            var most = 0
            #expect(
                loop.reaches {
                    most = max(most, loop.eventsOfTurn)
                    return server.acceptedDescriptors.count == 100
                        && pairs.allSatisfy { $0.0.happenings.contains(.endOfStream) && $0.0.outgoing == nil }
                })
            #expect(most <= 64)
            for (endpoint, _) in pairs { #expect(endpoint.received == pattern(20_000)) }
            for fd in server.acceptedDescriptors { close(fd) }
            #expect(peers.count == 100)
        }
    }

    /// liburing#1043: a connection that floods does not shut the others out. It may have a few dozen reads, not the
    /// whole array, before everybody who had one small message has been heard.
    @Test(arguments: Engine.available)
    func aFloodLeavesRoomForOthers(engine: Engine) throws {
        // Small chunks, so that the flood is many reads.
        try withLoop(engine, options: ct_loop_options(chunkSize: 4096)) { loop in
            let (flood, flooder) = try loop.connection(.tcp)
            let pairs = try (0..<20).map { _ in try loop.connection(.tcp) }
            loop.settle()
            var floodReads = 0
            flood.onReceive = { _ in floodReads += 1 }
            // Much must be there to be read at once.
            ct_socket_set_int(flood.slot.pointee.fd, SOL_SOCKET, SO_RCVBUF, 1 << 20)
            ct_receive_stop(loop.loop, flood.slot)
            #expect(loop.reaches { !flood.slot.pointee.receive_armed })
            var written = 0
            while case let count = flooder.write(pattern(500_000)), count > 0 { written += count }
            try #require(written > 1_500_000)
            #expect(ct_receive_start(loop.loop, flood.slot) == 0)
            for (_, peer) in pairs { peer.write([1]) }
            #expect(loop.reaches { pairs.allSatisfy { $0.0.received == [1] } })
            #expect(floodReads <= 100)
            #expect(flood.received.count < written)
        }
    }

    /// A wait without deadline ends when something happens, on any thread.
    @Test(arguments: Engine.available)
    func theWaitEndsWithTraffic(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection()
            let fd = peer.fd
            let writer = TestThread { Glibc.send(fd, [5] as [UInt8], 1, 0) }
            #expect(loop.wakes { !endpoint.received.isEmpty })
            #expect(writer.join() == 1)
        }
    }

    /// A deadline in the past, or 0, does not wait.
    @Test(arguments: Engine.available)
    func aDeadlineOfZeroDoesNotWait(engine: Engine) throws {
        try withLoop(engine) { loop in
            let sentinel = ct_timer_arm(
                loop.loop, loop.now + TestLoop.guardNanos, UnsafeMutableRawPointer(bitPattern: 1)!)
            for _ in 0..<100 { loop.turn(deadline: 0) }
            for _ in 0..<100 { loop.turn(deadline: 1) }
            #expect(loop.statistics.turns == 200)
            #expect(ct_timer_take(loop.loop, sentinel) != nil)
        }
    }

    /// No allocation per message: after warm-up, ten thousand messages in and out allocate nothing in the core.
    @Test(arguments: Engine.available)
    func messagesAllocateNothing(engine: Engine) throws {
        let loop = try TestLoop(engine)
        defer { loop.finish() }
        let (endpoint, peer) = try loop.connection()
        let events = UnsafeMutablePointer<ct_event>.allocate(capacity: 64)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 1)
        defer {
            events.deallocate()
            memory.deallocate()
        }
        var vector = iovec(iov_base: memory, iov_len: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 7, count: 64)
        var received = 0
        func exchange(_ messages: Int) {
            for _ in 0..<messages {
                _ = Glibc.send(peer.fd, memory, 64, Int32(MSG_DONTWAIT))
                var sent = false
                while !sent {
                    let count = Int(ct_loop_run_once(loop.loop, .max, events, 64))
                    for i in 0..<count where events[i].kind == CT_EVENT_RECEIVE {
                        received += Int(events[i].result)
                        if events[i].has(CT_EVENT_CHUNK_DONE) { ct_chunk_release(events[i].chunk!) }
                        ct_send(loop.loop, endpoint.slot, &vector, 1)
                    }
                    for i in 0..<count where events[i].kind == CT_EVENT_SEND { sent = true }
                }
                _ = Glibc.recv(peer.fd, memory, 64, Int32(MSG_DONTWAIT))
            }
        }
        // Long enough for every chunk to have been lent and come back.
        exchange(40_000)
        let before = ct_memory_thread_allocated()
        exchange(10_000)
        let after = ct_memory_thread_allocated()
        #expect(after == before)
        #expect(received == 50_000 * 64)
    }
}
