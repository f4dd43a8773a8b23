import CKernelFaults
import CTransport
import Glibc
import Testing

/// The kernel is short of memory: it does not take the requests that are handed over, or a part of them. Nothing that a
/// connection needs is lost by it, the others go on, and no request goes out with somebody else's contents.
@Suite(.enabled(if: ct_probe().pointee.uring)) struct RingShortageTests {
    private static let entries: UInt32 = 8
    private static let smallRing: ct_loop_options = {
        var options = ct_loop_options()
        options.submission_entries = entries
        return options
    }()
    private static let often: UInt32 = 1_000_000

    /// Runs `body` while the kernel takes no requests, with a full submission queue.
    private func withFullQueue(_ loop: TestLoop, error: Int32 = EAGAIN, _ body: () throws -> Void) throws {
        ring_faults_refuse(Self.often, 0, error)
        for _ in 0..<Self.entries { _ = try loop.connection() }
        try body()
        for _ in 0..<20 { loop.turn(deadline: 0) }
        try #require(ring_faults_left() > 0)
        ring_faults_refuse(0, 0, 0)
    }

    /// A receive that is stopped while no entry is free is stopped all the same, and can be started again.
    @Test(arguments: [EAGAIN, ENOMEM, EBUSY, EINTR])
    func stopWithoutAnEntryIsNotForgotten(error: Int32) throws {
        try withLoop(.uring, options: Self.smallRing) { loop in
            let (endpoint, peer) = try loop.connection(.tcp)
            loop.settle()
            try withFullQueue(loop, error: error) { ct_receive_stop(loop.loop, endpoint.slot) }
            #expect(loop.reaches { !endpoint.slot.pointee.receive_armed })
            peer.write([1, 2, 3])
            loop.settle()
            #expect(endpoint.received.isEmpty)
            #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            #expect(loop.reaches { endpoint.received == [1, 2, 3] })
        }
    }

    /// So is one that was stopped and started again meanwhile.
    @Test func stopAndStartWithoutAnEntryAreNotForgotten() throws {
        try withLoop(.uring, options: Self.smallRing) { loop in
            let (endpoint, peer) = try loop.connection(.tcp)
            loop.settle()
            try withFullQueue(loop) {
                ct_receive_stop(loop.loop, endpoint.slot)
                #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
            }
            peer.write([1, 2, 3])
            #expect(loop.reaches { endpoint.received == [1, 2, 3] })
            loop.settle()
            #expect(endpoint.slot.pointee.receive_armed)
        }
    }

    /// A receive that finds no entry is made when there is one.
    @Test(arguments: Transport.allCases)
    func receiveWithoutAnEntryIsMadeLater(transport: Transport) throws {
        try withLoop(.uring, options: Self.smallRing) { loop in
            let (endpoint, peer) = try loop.connection(transport, receiving: false)
            let (stopped, stoppedPeer) = try loop.connection(transport, receiving: false)
            try withFullQueue(loop) {
                #expect(ct_receive_start(loop.loop, endpoint.slot) == 0)
                #expect(ct_receive_start(loop.loop, stopped.slot) == 0)
                ct_receive_stop(loop.loop, stopped.slot)
            }
            peer.write(pattern(1000))
            stoppedPeer.write(pattern(1000))
            #expect(loop.reaches { endpoint.received == pattern(1000) })
            loop.settle()
            #expect(stopped.received.isEmpty)
        }
    }

    /// A send that finds no entry goes out when there is one, all of it, once and in order.
    @Test(arguments: [1, 5], [false, true])
    func sendWithoutAnEntryGoesOutLater(vectors: Int, zeroCopy: Bool) throws {
        try withLoop(.uring, options: Self.smallRing) { loop in
            let pairs = try (0..<5).map { _ in try loop.connection(.tcp) }
            loop.settle()
            try withFullQueue(loop) {
                for (i, (endpoint, _)) in pairs.enumerated() {
                    let bytes = pattern(5000, seed: i)
                    #expect(endpoint.send(bytes, vectors: vectors, zeroCopy: zeroCopy, on: loop) == 0)
                }
            }
            #expect(loop.reaches { pairs.allSatisfy { $0.0.outgoing == nil && $0.1.read().count == 5000 } })
            for (i, (_, peer)) in pairs.enumerated() { #expect(peer.received == pattern(5000, seed: i)) }
        }
    }

    /// The kernel takes some of the requests and not the others: the scratch of those that wait is not given to new ones,
    /// nor written beyond.
    @Test(arguments: [1, 3, 7])
    func partialSubmissionKeepsTheScratchOfTheRest(most: UInt32) throws {
        try withLoop(.uring, options: Self.smallRing) { loop in
            let pairs = try (0..<24).map { _ in try loop.connection(.tcp) }
            loop.settle()
            for round in 0..<10 {
                ring_faults_refuse(60, most, EAGAIN)
                for (i, (endpoint, _)) in pairs.enumerated() {
                    #expect(endpoint.send(pattern(3000, seed: i + round), vectors: 1000, on: loop) == 0)
                }
                let size = 3000 * (round + 1)
                #expect(loop.reaches { pairs.allSatisfy { $0.0.outgoing == nil && $0.1.read().count == size } })
                for (i, (_, peer)) in pairs.enumerated() {
                    #expect(peer.received.suffix(3000) == pattern(3000, seed: i + round)[...])
                }
            }
            ring_faults_refuse(0, 0, 0)
        }
    }

    /// More connects than there is room for their addresses, with a kernel that takes none: those beyond are asked to come again,
    /// and nobody goes anywhere but where it should.
    @Test func connectsBeyondTheRoomForAddressesComeAgain() throws {
        try withLoop(.uring) { loop in
            let listeners = try (0..<2).map { _ in try Listener() }
            defer { for listener in listeners { close(listener.fd) } }
            ring_faults_refuse(Self.often, 0, EAGAIN)
            let ends = try (0..<200).map { i in (try loop.open(listeners[i % 2].socket()), listeners[i % 2]) }
            for (endpoint, listener) in ends { #expect(loop.connect(endpoint, to: listener.address) == 0) }
            #expect(ends.allSatisfy { $0.0.slot.pointee.connects_in_flight == 1 })
            ring_faults_refuse(0, 0, 0)
            #expect(loop.reaches { ends.allSatisfy { !$0.0.happenings.isEmpty } })
            let late = ends.filter { $0.0.happenings == [.connectAgain] }
            #expect(!late.isEmpty && late.count < ends.count)
            for (endpoint, listener) in late {
                #expect(endpoint.slot.pointee.connects_in_flight == 0)
                #expect(loop.connect(endpoint, to: listener.address) == 0)
            }
            #expect(loop.reaches { ends.allSatisfy { $0.0.happenings.last == .connected } })
            for (endpoint, listener) in ends {
                var address = ct_address()
                #expect(ct_socket_peer_address(endpoint.slot.pointee.fd, &address) == 0)
                #expect(ct_address_port(&address) == withUnsafePointer(to: listener.address) { ct_address_port($0) })
            }
        }
    }

    /// While requests wait to be taken, completions of others are seen, and the loop does not spin.
    @Test(arguments: [EAGAIN, ENOMEM])
    func completionsAreSeenWhileRequestsAreRefused(error: Int32) throws {
        try withLoop(.uring) { loop in
            let (endpoint, peer) = try loop.connection(.tcp)
            let (waiting, waitingPeer) = try loop.connection(.tcp)
            loop.settle()
            ring_faults_refuse(Self.often, 0, error)
            #expect(waiting.send([7], on: loop) == 0)
            for round in 1...20 {
                peer.write(pattern(10))
                #expect(loop.reaches { endpoint.received.count == 10 * round })
            }
            #expect(waiting.outgoing != nil)
            let before = Self.often - ring_faults_left()
            for _ in 0..<10 { loop.turn(deadline: loop.now + 1_000_000_000) }
            #expect(Self.often - ring_faults_left() - before <= 20)
            ring_faults_refuse(0, 0, 0)
            #expect(loop.reaches { waitingPeer.read() == [7] })
        }
    }

    /// Connections close, gracefully or with a reset, while the kernel takes no requests: all of them, in the end.
    @Test func closingWithoutEntriesEnds() throws {
        try withLoop(.uring, options: Self.smallRing) { loop in
            let full = try Listener(backlog: 0)
            defer { close(full.fd) }
            let peers = [try full.connectPeer()]
            var ending: [Endpoint] = []
            for i in 0..<30 {
                let listener = try loop.open(Listener().fd, listener: true)
                #expect(ct_accept_start(loop.loop, listener.slot) == 0)
                let connecting = try loop.open(full.socket())
                #expect(loop.connect(connecting, to: full.address) == 0)
                let (endpoint, _) = try loop.connection(Transport.allCases[i % 3])
                ct_socket_set_int(endpoint.slot.pointee.fd, SOL_SOCKET, SO_SNDBUF, 8192)
                #expect(endpoint.send(pattern(1_000_000), zeroCopy: i % 2 == 0, on: loop) == 0)
                ending += [listener, connecting, endpoint]
            }
            loop.settle()
            try withFullQueue(loop) {
                for (i, endpoint) in ending.enumerated() {
                    if i % 4 == 0 { loop.close(endpoint) } else { ct_slot_reset(loop.loop, endpoint.slot) }
                }
            }
            #expect(loop.reaches { ending.allSatisfy(\.isClosed) })
            #expect(!peers.isEmpty)
        }
    }

    /// Waits that fail with what the kernel says when it is out of memory, or when a signal came, are waits that were short.
    @Test(arguments: [EINTR, EAGAIN, ENOMEM, EBUSY])
    func failedWaitsAreRepeated(error: Int32) throws {
        try withLoop(.uring) { loop in
            let (endpoint, peer) = try loop.connection(.tcp)
            loop.settle()
            ring_faults_interrupt(50, error)
            peer.write([1])
            #expect(loop.reaches { endpoint.received == [1] })
            loop.settle()
            #expect(ring_faults_left() < 50)
            ring_faults_interrupt(0, 0)
        }
    }
}
