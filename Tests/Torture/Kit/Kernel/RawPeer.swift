import Glibc

/// One bare socket: writes, reads, pauses and ends as its plan says, and checks every byte. The driver's thread only.
final class RawPeer {
    private enum State {
        /// Waits for room in the backlog.
        case retrying
        case connecting
        /// Accepted, and not known yet.
        case anonymous
        case running
        /// Has said its last word, and reads to the end.
        case ending
        case over
    }

    private(set) var descriptor: Int32
    private(set) var wakeTime = UInt64.max
    private let run: Run
    private let address: RawSocket.Address?
    private let side: Side
    private var session: Session?
    private var plan: EndPlan?
    private var random = Random(0)
    private var state: State
    private var greeting: [UInt8] = []
    private var greetingSent = 0
    private var steps = 0
    /// The write under way.
    private var piece: (index: Int, phase: Int, count: Int, sent: Int)?
    private var readsUntil: UInt64 = 0
    private var stallsUntil: UInt64 = 0
    private var largestRead = 1 << 16
    private var isBlocked = false
    private var hasInputEnded = false
    private var hasOutputEnded = false
    private var isBroken = false
    private let census = Census.Member(.peer)

    var isOver: Bool { state == .over }

    /// Connects.
    init(_ session: Session, to address: RawSocket.Address) {
        run = session.epoch.run
        self.address = address
        side = .client
        descriptor = -1
        state = .retrying
        wakeTime = 0
        greeting = Hello.bytes(session.id)
        adopt(session)
    }

    /// Was accepted.
    init(accepted descriptor: Int32, _ run: Run) {
        self.run = run
        address = nil
        side = .server
        self.descriptor = descriptor
        state = .anonymous
    }

    private func adopt(_ session: Session) {
        self.session = session
        plan = session.plan[side]
        random = session.plan[side].random
        steps = session.plan[side].steps
        nonisolated(unsafe) weak let this = self
        let side = side
        session.hold {
            "\(side): \(this?.summary ?? "its socket is gone")"
        } abort: {
            this?.abort()
        }
    }

    private var summary: String {
        let piece = piece.map { "\($0.sent) of \($0.count) bytes of #\($0.index) sent" } ?? "no write under way"
        return "descriptor \(descriptor), \(state), \(piece), blocked \(isBlocked), \(steps) steps left, "
            + "input ended \(hasInputEnded), output ended \(hasOutputEnded)"
    }

    func abort() {
        if descriptor >= 0 { RawSocket.reset(descriptor) }
        finish(.broken)
    }

    // MARK: What the driver asks

    func interests(_ now: UInt64) -> Int16 {
        switch state {
        case .retrying, .over: return 0
        case .connecting: return Int16(POLLOUT)
        case .anonymous, .ending: return stallsUntil > now ? 0 : Int16(POLLIN)
        case .running:
            var events: Int16 = 0
            if !hasInputEnded, stallsUntil <= now { events |= Int16(POLLIN) }
            if isBlocked { events |= Int16(POLLOUT) }
            return events
        }
    }

    func advance(_ now: UInt64, _ events: Int16, _ scratch: UnsafeMutableRawPointer) {
        wakeTime = .max
        switch state {
        case .retrying: begin(now)
        case .connecting: connected()
        case .anonymous: greet(scratch)
        case .running, .ending: break
        case .over: return
        }
        if state == .running || state == .ending { work(now, scratch) }
    }

    // MARK: Coming to life

    private func begin(_ now: UInt64) {
        guard let address, let session else { return }
        descriptor = RawSocket.open(address)
        guard descriptor >= 0 else { return fail("socket", errno) }
        if random.oneIn(4) { RawSocket.set(descriptor, SO_RCVBUF, Int32(random.logarithmic(1 << 17, 1 << 20))) }
        if random.oneIn(4) { RawSocket.set(descriptor, SO_SNDBUF, Int32(random.logarithmic(4096, 1 << 17))) }
        let result = RawSocket.connect(descriptor, to: address)
        switch -result {
        case 0:
            state = .running
            wakeTime = 0
        case EINPROGRESS: state = .connecting
        case EAGAIN:
            // The backlog of a Unix listener is full.
            close(descriptor)
            descriptor = -1
            wakeTime = now + 2000
        default: fail("connect", -result)
        }
        session.note(side, "connecting", Int(descriptor))
    }

    private func connected() {
        let error = RawSocket.error(of: descriptor)
        if error != 0 { return fail("connect", error) }
        state = .running
    }

    private func fail(_ call: StaticString, _ number: Int32) {
        session?.note(side, "failed to connect", Int(number))
        if let session, !session.excuses.contains(.shutdown) {
            session.fault("connect", "\(call): \(String(cString: strerror(number)))")
        }
        session?.overWithoutServer()
        finish(.broken)
    }

    /// The first bytes say whose connection it is.
    private func greet(_ scratch: UnsafeMutableRawPointer) {
        let count = RawSocket.receive(descriptor, scratch, Hello.length - greeting.count)
        if count == -Int(EAGAIN) { return }
        guard count > 0 else { return finish(.broken) }
        greeting += UnsafeRawBufferPointer(start: scratch, count: count)
        guard greeting.count == Hello.length else { return }
        guard let id = Hello.id(greeting), let session = run.session(id) else { return finish(.broken) }
        adopt(session)
        greetingSent = greeting.count
        session.attach()
        session.note(side, "attached")
        state = .running
    }

    // MARK: At work

    private func work(_ now: UInt64, _ scratch: UnsafeMutableRawPointer) {
        // No more at a time than this, for the others' sake.
        wakeTime = 0
        for _ in 0..<16 {
            var isBusy = false
            if !hasInputEnded, stallsUntil <= now { isBusy = readSome(scratch) || isBusy }
            guard state == .running || state == .ending else { return }
            if state == .running { isBusy = act(now) || isBusy }
            if state == .over { return }
            if !isBusy {
                wakeTime = .max
                break
            }
        }
        if stallsUntil > now { wakeTime = min(wakeTime, stallsUntil) }
        if state == .running, readsUntil > now { wakeTime = min(wakeTime, readsUntil) }
    }

    /// True when there may be more.
    private func readSome(_ scratch: UnsafeMutableRawPointer) -> Bool {
        guard let session else { return false }
        let count = RawSocket.receive(descriptor, scratch, min(1 << 16, random.between(1, largestRead)))
        if count > 0 {
            session.received(side, UnsafeRawBufferPointer(start: scratch, count: count))
            return true
        }
        if count == -Int(EAGAIN) || count == -Int(EINTR) { return false }
        hasInputEnded = true
        session.note(side, count == 0 ? "end of stream" : "broken", -count)
        session.incoming(side).ended(count == 0 && !isBroken ? .clean : .broken)
        if count < 0 || state == .ending { finish(.open) }
        return true
    }

    /// The next thing. True when it should be asked again.
    private func act(_ now: UInt64) -> Bool {
        guard let session, let plan else { return false }
        if greetingSent < greeting.count { return greetServer() }
        if piece != nil { return send() }
        if readsUntil > now, !hasInputEnded { return false }
        if steps == 0 { return end(now, session, plan) }
        steps -= 1
        if plan.suddenEnd > 0, session.isAttached, random.oneIn(plan.suddenEnd) { return suddenly(session) }
        switch random.below(10) {
        case 0..<6:
            let stream = session.outgoing(side)
            let count = max(random.logarithmic(1, plan.largest), stream.hasLanes ? Stream.markLength : 1)
            let (index, phase) = stream.issue(count, isTold: false)
            piece = (index, phase, count, 0)
            session.note(side, "writes", index, count)
        case 6: stallsUntil = now + UInt64(random.logarithmic(10, 10_000))
        case 7: readsUntil = now + UInt64(random.logarithmic(10, 5_000))
        case 8: largestRead = random.logarithmic(64, 1 << 16)
        default: largestRead = 1 << 16
        }
        return true
    }

    private func greetServer() -> Bool {
        let sent = greeting.withUnsafeBytes {
            RawSocket.send(descriptor, $0.baseAddress! + greetingSent, greeting.count - greetingSent)
        }
        isBlocked = sent == -Int(EAGAIN)
        if isBlocked { return false }
        if sent < 0 { return outputBroke(sent) }
        greetingSent += sent
        return true
    }

    private func send() -> Bool {
        guard var piece, let session else { return false }
        let sent = RawSocket.send(descriptor, Pattern.table + piece.phase + piece.sent, piece.count - piece.sent)
        isBlocked = sent == -Int(EAGAIN)
        if isBlocked { return false }
        if sent < 0 { return outputBroke(sent) }
        session.note(side, "sent", piece.index, sent)
        piece.sent += sent
        self.piece = piece.sent == piece.count ? nil : piece
        return true
    }

    /// The connection is gone, but what came may still be read.
    private func outputBroke(_ result: Int) -> Bool {
        session?.note(side, "output broke", -result)
        // The kernel tells a reset once: what is read from now on ends like a whole stream.
        isBroken = true
        greetingSent = greeting.count
        stopWriting()
        steps = 0
        isBlocked = false
        return true
    }

    private func stopWriting() {
        if let piece, let session { session.outgoing(side).truncate(piece.index, to: piece.sent) }
        piece = nil
        hasOutputEnded = true
    }

    // MARK: Ends

    private func suddenly(_ session: Session) -> Bool {
        if random.flip() {
            session.excuse(side, .reset)
            session.leave(side)
            RawSocket.reset(descriptor)
        } else {
            session.excuse(side, .abandoned)
            session.leave(side)
            close(descriptor)
        }
        descriptor = -1
        finish(.open)
        return false
    }

    private func end(_ now: UInt64, _ session: Session, _ plan: EndPlan) -> Bool {
        if hasInputEnded {
            finish(.open)
            return false
        }
        guard plan.isEnder || hasOutputEnded else { return false }
        // Before the server knows the session nothing may happen to it.
        if side == .client, !session.isAttached, !session.excuses.contains(.shutdown) {
            readsUntil = now + 1000
            return false
        }
        switch plan.ending {
        case _ where hasOutputEnded: break
        case .reset, .drainThenReset: return suddenly(session)
        case .immediate where random.flip(): return suddenly(session)
        default:
            session.note(side, "half close")
            shutdown(descriptor, Int32(SHUT_WR))
        }
        hasOutputEnded = true
        state = .ending
        return true
    }

    private func finish(_ end: Stream.End) {
        guard state != .over else { return }
        state = .over
        stopWriting()
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
        guard let session else { return }
        self.session = nil
        if end != .open { session.incoming(side).ended(end) }
        session.over(side)
    }
}
