import Glibc
import Synchronization

/// A thread that drives all bare sockets: it waits for readiness and for time, and lets each peer do the next thing.
final class RawDriver: @unchecked Sendable {
    private struct Inbox {
        var work: [@Sendable (RawDriver) -> Void] = []
        var isStopped = false
    }
    private struct Listening {
        let descriptor: Int32
        let accepted: (Int32) -> Void
    }

    private let inbox = Mutex(Inbox())
    private let wakeup: (read: Int32, write: Int32)
    private var thread = pthread_t()
    // The driver's thread only from here on.
    private var peers: [RawPeer] = []
    private var listening: [Listening] = []
    private var polls: [pollfd] = []
    private var lastWatch = Clock.microseconds
    /// Called once a second.
    private let watch: @Sendable () -> Void
    private let scratch = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 64)

    init(watch: @escaping @Sendable () -> Void) {
        self.watch = watch
        var ends: [Int32] = [-1, -1]
        precondition(pipe(&ends) == 0, "pipe: \(errno)")
        for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
        wakeup = (ends[0], ends[1])
        let context = Unmanaged.passRetained(self).toOpaque()
        let result = pthread_create(
            &thread, nil,
            { context in
                Unmanaged<RawDriver>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, context)
        precondition(result == 0, "pthread_create: \(result)")
    }

    deinit { scratch.deallocate() }

    /// Has `body` run on the driver's thread. Any thread.
    func execute(_ body: @escaping @Sendable (RawDriver) -> Void) {
        inbox.withLock { $0.work.append(body) }
        wake()
    }

    private func wake() {
        var byte: UInt8 = 0
        _ = write(wakeup.write, &byte, 1)
    }

    /// Ends the thread; peers that are left are dropped. Any thread.
    func stop() {
        inbox.withLock { $0.isStopped = true }
        wake()
        pthread_join(thread, nil)
        for listener in listening { close(listener.descriptor) }
        for peer in peers { peer.abort() }
        close(wakeup.read)
        close(wakeup.write)
    }

    // MARK: On the thread

    func add(_ peer: RawPeer) { peers.append(peer) }

    func listen(_ descriptor: Int32, _ accepted: @escaping (Int32) -> Void) {
        listening.append(Listening(descriptor: descriptor, accepted: accepted))
    }

    private func run() {
        while true {
            let (work, isStopped) = inbox.withLock { inbox in
                defer { inbox.work = [] }
                return (inbox.work, inbox.isStopped)
            }
            if isStopped { return }
            for body in work { body(self) }
            turn()
            if Clock.microseconds - lastWatch > 1_000_000 {
                lastWatch = Clock.microseconds
                watch()
            }
        }
    }

    private func turn() {
        polls.removeAll(keepingCapacity: true)
        polls.append(pollfd(fd: wakeup.read, events: Int16(POLLIN), revents: 0))
        for listener in listening { polls.append(pollfd(fd: listener.descriptor, events: Int16(POLLIN), revents: 0)) }
        let now = Clock.microseconds
        var soonest = UInt64.max
        for peer in peers {
            let events = peer.interests(now)
            // A descriptor nobody wants to hear of must not wake the thread by its end either.
            polls.append(pollfd(fd: events == 0 ? -1 : peer.descriptor, events: events, revents: 0))
            soonest = min(soonest, peer.wakeTime)
        }
        _ = poll(
            &polls, nfds_t(polls.count),
            soonest == .max ? 1000 : soonest <= now ? 0 : Int32(min(1000, (soonest - now) / 1000 + 1)))
        if polls[0].revents != 0 { _ = read(wakeup.read, scratch, 1 << 16) }
        for (index, listener) in listening.enumerated() where polls[1 + index].revents != 0 {
            while true {
                let descriptor = RawSocket.accept(listener.descriptor)
                if descriptor < 0 { break }
                listener.accepted(descriptor)
            }
        }
        let later = Clock.microseconds
        let first = 1 + listening.count
        for index in first..<polls.count {
            let peer = peers[index - first]
            if polls[index].revents != 0 || peer.wakeTime <= later {
                peer.advance(later, polls[index].revents, scratch)
            }
        }
        peers.removeAll { $0.isOver }
    }
}
