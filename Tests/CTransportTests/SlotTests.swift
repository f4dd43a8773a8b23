import CTransport
import Glibc
import Testing

@Suite struct SlotTests {
    /// A slot that is used again has another generation, so nothing meant for its former owner reaches the new one.
    @Test(arguments: Engine.available)
    func reusedSlotHasANewGeneration(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (first, _) = try loop.connection()
            loop.close(first)
            #expect(loop.reaches { first.isClosed })
            let (second, _) = try loop.connection()
            #expect(second.index == first.index, "a warm slot is used first")
            #expect(second.generation == first.generation + 1)
        }
    }

    /// Closing twice, and again from within the same turn, is one close: the descriptor may belong to somebody else by
    /// then (`TestLoop.finish()` counts the CLOSED events).
    @Test(arguments: Engine.available)
    func closeIsIdempotent(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection()
            loop.close(endpoint)
            loop.close(endpoint)
            #expect(loop.reaches { peer.isAtEnd })
            #expect(loop.reaches { endpoint.isClosed })
            #expect(endpoint.happenings.count { $0 == .closed } == 1)
        }
    }

    /// A slot without operations closes too, and in the very next turn.
    @Test(arguments: Engine.available)
    func idleSlotClosesInOneTurn(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection(receiving: false)
            loop.close(endpoint)
            loop.turn(deadline: loop.now + TestLoop.guardNanos)
            #expect(endpoint.happenings == [.closed])
            peer.read()
            #expect(peer.atEnd)
        }
    }

    /// The descriptor is not closed and the slot not reused while anything is in flight. Until its last
    /// completion a closing slot keeps its number, and a new connection gets another one.
    @Test(arguments: Engine.available)
    func aSlotIsNotReusedBeforeItIsQuiet(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (closing, peer) = try loop.connection()
            loop.settle()
            let fd = closing.slot.pointee.fd
            loop.close(closing)
            #expect(closing.slot.pointee.state == CT_SLOT_CLOSING)
            #expect(closing.slot.pointee.receive_armed)
            #expect(fcntl(fd, F_GETFD) >= 0)
            let (other, _) = try loop.connection()
            #expect(other.index != closing.index)
            #expect(loop.reaches { closing.isClosed })
            #expect(closing.slot.pointee.state == CT_SLOT_FREE)
            let (reused, _) = try loop.connection()
            #expect(reused.index == closing.index)
            peer.read()
            #expect(peer.atEnd)
        }
    }

    /// A closing or closed connection takes no new work.
    @Test(arguments: Engine.available)
    func closingSlotRefusesWork(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, _) = try loop.connection()
            loop.close(endpoint)
            #expect(ct_receive_start(loop.loop, endpoint.slot) == -ENOTCONN)
            #expect(endpoint.send([1, 2, 3], on: loop) == -EPIPE)
            #expect(loop.reaches { endpoint.isClosed })
        }
    }

    /// More connections than one block of slots, closed at once: each ends once, the array's bound is kept, and the
    /// closes take their turns (`ct_slots_finish`).
    @Test(arguments: Engine.available)
    func manyThatCloseAtOnceEndOnce(engine: Engine) throws {
        try withLoop(engine, capacity: 64) { loop in
            var peers: [Peer] = []
            for _ in 0..<1200 { peers.append(try loop.connection().1) }
            loop.settle()
            #expect(loop.statistics.slots_open == 1200)
            for endpoint in loop.endpoints.values { loop.close(endpoint) }
            var most = 0
            #expect(
                loop.reaches {
                    most = max(most, loop.eventsOfTurn)
                    return loop.statistics.slots_open == 0
                })
            #expect(most <= 64)
            for peer in peers { peer.read() }
            #expect(peers.allSatisfy { $0.atEnd })
        }
    }

    /// Stopped and closed in one turn while its bytes wait to be read, behind others that fill the array: the engine must
    /// not look at the slot again when it has a new owner (epoll: the ready list; io_uring: the armed request).
    @Test(arguments: Engine.available)
    func aReusedSlotGetsNoBytesOfItsPredecessor(engine: Engine) throws {
        // Small chunks, so that the busy ones have many events each.
        try withLoop(engine, capacity: 64, options: ct_loop_options(chunkSize: 4096)) { loop in
            let busy = try (0..<30).map { _ in try loop.connection(.tcp) }
            let victims = try (0..<8).map { _ in try loop.connection(.tcp) }
            loop.settle()
            let written = (busy + victims).map { $0.1.write(pattern(200_000)) }
            loop.turn()
            for (victim, _) in victims {
                ct_receive_stop(loop.loop, victim.slot)
                loop.close(victim)
            }
            // As soon as one is closed its slot has a new owner.
            var fresh: [(Endpoint, Peer)] = []
            for _ in 0..<20 {
                loop.turn()
                fresh.append(try loop.connection(.tcp))
                fresh.last!.1.write([42])
            }
            #expect(
                loop.reaches {
                    victims.allSatisfy { $0.0.isClosed } && fresh.allSatisfy { $0.0.received == [42] }
                        && zip(busy, written).allSatisfy { $0.0.received.count == $1 }
                })
            #expect(!Set(fresh.map(\.0.index)).isDisjoint(with: victims.map(\.0.index)))
        }
    }

    /// A copy of the descriptor, as a process being forked has one, keeps the socket alive behind the close: its events
    /// must not reach the slot's next owner, nor be counted as stale (`TestLoop.finish()`).
    @Test(arguments: Engine.available)
    func copiedDescriptorStaysSilent(engine: Engine) throws {
        try withLoop(engine) { loop in
            let (endpoint, peer) = try loop.connection()
            loop.settle()
            let copy = dup(endpoint.slot.pointee.fd)
            loop.close(endpoint)
            #expect(loop.reaches { endpoint.isClosed })
            let (next, _) = try loop.connection()
            #expect(next.index == endpoint.index)
            peer.write([1])
            peer.close()
            loop.settle()
            #expect(next.happenings.isEmpty)
            Glibc.close(copy)
        }
    }
}
