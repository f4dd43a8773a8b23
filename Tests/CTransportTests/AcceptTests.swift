import CTransport
import Glibc
import Testing

@Suite struct AcceptTests {
    /// One armed accept takes any number of connections; each event says that it stays armed.
    @Test(arguments: Engine.available, Transport.withListener)
    func oneOperationAcceptsAll(engine: Engine, transport: Transport) throws {
        try withLoop(engine) { loop in
            let listener = try Listener(transport)
            let endpoint = try loop.open(listener.fd, listener: true)
            #expect(ct_accept_start(loop.loop, endpoint.slot) == 0)
            #expect(ct_accept_start(loop.loop, endpoint.slot) == 0, "armed already: nothing to do")
            let peers = try (0..<200).map { _ in try listener.connectPeer() }
            #expect(loop.reaches { endpoint.acceptedDescriptors.count == 200 })
            #expect(endpoint.happenings.allSatisfy { $0 == .accepted(more: true) })
            #expect(loop.statistics.accepts == 200)
            #expect(endpoint.slot.pointee.accepts_in_flight == 1)
            for fd in endpoint.acceptedDescriptors {
                #expect(fcntl(fd, F_GETFD) & FD_CLOEXEC != 0)
                close(fd)
            }
            #expect(peers.count == 200)
        }
    }

    /// Connections that came before the accept was started are not forgotten.
    @Test(arguments: Engine.available)
    func connectionsOfTheBacklogAreAccepted(engine: Engine) throws {
        try withLoop(engine) { loop in
            let listener = try Listener()
            let peers = try (0..<10).map { _ in try listener.connectPeer() }
            let endpoint = try loop.open(listener.fd, listener: true)
            #expect(ct_accept_start(loop.loop, endpoint.slot) == 0)
            #expect(loop.reaches { endpoint.acceptedDescriptors.count == 10 })
            for fd in endpoint.acceptedDescriptors { close(fd) }
            #expect(peers.count == 10)
        }
    }

    /// Closing a listener ends its accept with -ECANCELED, then the slot; new connections are refused.
    @Test(arguments: Engine.available)
    func aClosedListenerEndsItsAccept(engine: Engine) throws {
        try withLoop(engine) { loop in
            // A port might be somebody else's by then; an abstract name is not.
            let listener = try Listener(.unix)
            let endpoint = try loop.open(listener.fd, listener: true)
            #expect(ct_accept_start(loop.loop, endpoint.slot) == 0)
            loop.settle()
            loop.close(endpoint)
            #expect(loop.reaches { endpoint.isClosed })
            #expect(endpoint.happenings == [.acceptFailed(ECANCELED), .closed])
            let late = Peer(fd: try listener.socket())
            #expect(listener.connect(late.fd) == ECONNREFUSED)
        }
    }

    /// No descriptor left. The accept ends with EMFILE once instead of spinning, the connection stays in the
    /// backlog, and starting the accept again after descriptors came back takes it.
    @Test(
        .enabled(if: DescriptorTable.canBeFilled, "too many descriptors allowed to use them all up"),
        arguments: Engine.available)
    func acceptingFailsWithoutDescriptors(engine: Engine) throws {
        let outcome = TestThread { () -> Outcome in
            // A table of its own, so that the other tests keep their descriptors.
            guard unshareDescriptors() == 0 else { return Outcome(failure: "unshare: \(errno)") }
            do { return try Self.useUpDescriptors(engine) } catch { return Outcome(failure: "\(error)") }
        }.join()
        #expect(outcome.failure == nil)
        #expect(outcome.atLimit == [.acceptFailed(EMFILE)])
        #expect(outcome.accepted == 1)
        #expect(outcome.armedAtEnd)
        #expect(outcome.staleCompletions == 0)
    }

    private struct Outcome: Sendable {
        var failure: String?
        var atLimit: [Happening] = []
        var accepted = 0
        var armedAtEnd = false
        var staleCompletions: UInt64 = 0
    }

    private static func useUpDescriptors(_ engine: Engine) throws -> Outcome {
        var outcome = Outcome()
        let loop = try TestLoop(engine)
        let listener = try Listener()
        let endpoint = try loop.open(listener.fd, listener: true)
        let peer = Peer(fd: try listener.socket())
        let table = DescriptorTable()
        table.fill()
        guard ct_accept_start(loop.loop, endpoint.slot) == 0 else { return Outcome(failure: "accept") }
        guard listener.connect(peer.fd) == 0 else { return Outcome(failure: "connect") }
        guard loop.reaches({ !endpoint.happenings.isEmpty }) else { return Outcome(failure: "no event") }
        loop.settle()
        outcome.atLimit = endpoint.happenings

        table.empty()
        guard ct_accept_start(loop.loop, endpoint.slot) == 0 else { return Outcome(failure: "accept again") }
        guard loop.reaches({ !endpoint.acceptedDescriptors.isEmpty }) else { return Outcome(failure: "lost") }
        outcome.accepted = endpoint.acceptedDescriptors.count
        outcome.armedAtEnd = endpoint.slot.pointee.accepts_in_flight == 1
        for fd in endpoint.acceptedDescriptors { close(fd) }
        loop.close(endpoint)
        guard loop.reaches({ endpoint.isClosed }) else { return Outcome(failure: "not closed") }
        outcome.staleCompletions = loop.statistics.stale_completions
        ct_loop_destroy(loop.loop)
        return outcome
    }
}

/// Uses up every descriptor the process may have, and gives them back.
private final class DescriptorTable {
    private var taken: [Int32] = []

    static var canBeFilled: Bool {
        var limit = rlimit()
        return getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 && limit.rlim_cur <= 1 << 20
    }

    func fill() {
        var fd = dup(0)
        while fd >= 0 {
            taken.append(fd)
            fd = dup(0)
        }
    }

    func empty() {
        for fd in taken { close(fd) }
        taken = []
    }

    deinit { empty() }
}
