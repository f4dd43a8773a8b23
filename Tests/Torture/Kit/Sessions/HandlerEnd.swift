import SwiftTransport
import Synchronization

/// An end of a session that lives in handlers: in every callback it does some of what its plan has drawn. The loop's thread
/// only.
final class HandlerEnd: ChannelHandler, @unchecked Sendable {
    static let interests: ChannelEvents = .inbound

    let side: Side
    let profile: ChannelProfile
    private let run: Run
    private(set) var session: Session?
    private(set) var plan: EndPlan?
    private(set) var context: ChannelContext?
    var random = Random(0)
    private var greeting: [UInt8] = []
    private var depth = 0
    /// What comes first on the connection has come or gone.
    private var hasGreeted = false
    private var hasTick = false
    private var hasStartedLanes = false

    var steps = 0
    var hasInputEnded = false
    var isOutputShut = false
    /// Was told to come to an end.
    var isLeaving = false
    var hasEnded = false
    /// When the channel has to be closed at the latest, where time can be trusted.
    var latest: UInt64?
    /// Writes that may still be taken back.
    var handles: [(index: Int, handle: WriteHandle)] = []
    var lastSuccess = -1
    /// What the handlers were last told.
    private var wasWritable: Bool?
    private var kept: [(buffer: Buffer, sum: UInt64)] = []
    private let lanes = LaneCount()
    private let census = Census.Member(.handlerEnd)

    /// Of a connection that is about to be made.
    init(_ session: Session, _ profile: ChannelProfile) {
        run = session.epoch.run
        side = .client
        self.profile = profile
        adopt(session)
    }

    /// Of an accepted connection, which has yet to say whose it is.
    init(accepted run: Run, _ profile: ChannelProfile) {
        self.run = run
        self.profile = profile
        side = .server
    }

    private func adopt(_ session: Session) {
        self.session = session
        let plan = session.plan[side]
        self.plan = plan
        random = plan.random
        steps = plan.steps
        if profile.hasScrambler { session.holdsWrites[side.rawValue].set() }
    }

    var hasLanes: Bool { lanes.count > 0 }

    // MARK: From the channel

    func handlerAdded(_ context: ChannelContext) {
        self.context = context
        Census.watch(context, .context)
        Census.watch(context.channel, .channel)
    }

    func channelActive(_ context: ChannelContext) {
        wasWritable = context.channel.isWritable
        if let session {
            session.note(side, "active")
            context.write(Buffer(Hello.bytes(session.id)))
            context.flush()
            hasGreeted = true
            begin(session, context.channel)
        }
        context.fireChannelActive()
        act()
    }

    private func begin(_ session: Session, _ channel: Channel) {
        session.hold(side, channel)
    }

    private func startLanes(_ session: Session, _ channel: Channel, _ plan: EndPlan) {
        hasStartedLanes = true
        guard plan.lanes > 0 else { return }
        for number in 1...plan.lanes {
            lanes.add(1)
            var lane = Lane(session: session, side: side, channel: channel, number: number)
            lane.hasScrambler = profile.hasScrambler
            lane.ended = { [lanes] in lanes.add(-1) }
            lane.start(Random(random.next()))
        }
    }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        if let session {
            read(session, context, bytes)
        } else {
            greet(context, bytes)
        }
        context.fireChannelRead(bytes)
        act()
    }

    /// The first bytes say whose connection it is.
    private func greet(_ context: ChannelContext, _ bytes: ReadBytes) {
        bytes.withUnsafeBytes { bytes in
            let missing = Hello.length - greeting.count
            greeting += bytes.prefix(missing)
            guard greeting.count == Hello.length else { return }
            guard let id = Hello.id(greeting), let session = run.session(id) else {
                context.close(.reset)
                return
            }
            adopt(session)
            hasGreeted = true
            session.attach()
            session.note(side, "attached")
            begin(session, context.channel)
            let rest = UnsafeRawBufferPointer(rebasing: bytes.dropFirst(missing))
            if rest.count > 0 { session.received(side, rest) }
        }
    }

    private func read(_ session: Session, _ context: ChannelContext, _ bytes: ReadBytes) {
        if session.hasLeft(side) { return }
        let echoes = plan?.isEcho == true && !hasEnded && !isOutputShut && !session.outgoing(side).hasLanes
        guard echoes else {
            bytes.withUnsafeBytes { session.received(side, $0) }
            if random.oneIn(32), kept.count < 8 { keep(bytes) }
            return
        }
        var segments: [Stream.Segment] = []
        bytes.withUnsafeBytes { session.received(side, $0, &segments) }
        if segments.reduce(0, { $0 + $1.count }) == bytes.count { echo(session, context, bytes, segments) }
    }

    /// Takes bytes out of the call and looks at them again later: nobody may have touched them.
    private func keep(_ bytes: ReadBytes) {
        let buffer = Buffer(bytes)
        kept.append((buffer, Self.sum(buffer)))
    }

    private static func sum(_ buffer: Buffer) -> UInt64 {
        buffer.withUnsafeBytes { bytes in
            var sum: UInt64 = 0
            for byte in bytes { sum = (sum &* 31) &+ UInt64(byte) }
            return sum
        }
    }

    /// What is counted as pending is what is in the queue, and not too much.
    func checkBooks(_ context: ChannelContext) {
        guard let session else { return }
        if let fault = Books.fault(of: context.channel) { session.fault("pending bytes", fault) }
        checkLimit(session, context.channel)
    }

    private func checkKept() {
        for (buffer, sum) in kept where Self.sum(buffer) != sum {
            session?.fault("taken bytes changed", "\(buffer.count) bytes")
        }
        kept.removeAll()
    }

    func channelReadComplete(_ context: ChannelContext) {
        session?.note(side, "read complete")
        if random.flip() { context.flush() }
        if random.oneIn(4) { checkKept() }
        checkBooks(context)
        context.fireChannelReadComplete()
        act()
    }

    func channelWritabilityChanged(_ context: ChannelContext) {
        let isWritable = context.channel.isWritable
        session?.note(side, "writability", isWritable ? 1 : 0, context.channel.pendingBytes)
        // Handlers in front that write or flush in answer have others told first, and who writes from elsewhere sees more.
        let isAlone = profile.meddlers == 0 && !profile.hasScrambler && !profile.hasBackPressure && plan?.lanes == 0
        if isAlone, isWritable == wasWritable { session?.fault("told the writability it had", "\(isWritable)") }
        wasWritable = isWritable
        checkBooks(context)
        act()
        context.fireChannelWritabilityChanged()
    }

    func inputClosed(_ context: ChannelContext) {
        hasInputEnded = true
        session?.note(side, "end of stream")
        session?.sawEnd(side)
        act()
        context.fireInputClosed()
        // A stranger that has said all it had to say, or a server that a storm ended before it knew whose connection it was.
        let isUnknown = session.map { !$0.isAttached && side == .client && $0.excuses.contains(.storm) } ?? true
        if isUnknown { context.close(.immediate) }
    }

    func errorCaught(_ context: ChannelContext, _ error: any Error) {
        if let session, let error = error as? TransportError {
            session.noteError(side, error)
            switch error.code {
            case .outboundQueueFull, .loopBudgetExhausted: session.excuse(side, .overflow)
            case .system where error.call == .pread: session.excuse(side, .unreadable)
            default:
                if !session.explains(error, on: side) { session.fault("error without cause", "\(error)") }
            }
        }
        act()
        context.fireErrorCaught(error)
    }

    func userEvent(_ context: ChannelContext, _ event: any Sendable) {
        if event is ChannelNotice { session?.note(side, "output shut down") }
        act()
        context.fireUserEvent(event)
    }

    /// Goes at once, or finishes first what it was about to do.
    func shutdownBegan(_ context: ChannelContext) {
        session?.note(side, "shutdown began")
        isLeaving = true
        if session == nil || plan?.isTunnel == true || random.flip() { return context.fireShutdownBegan() }
        act()
    }

    func channelInactive(_ context: ChannelContext) {
        session?.note(side, "inactive")
        checkBooks(context)
        if let latest, Clock.microseconds > latest {
            session?.fault("a drain went on beyond its limit", "\(Clock.microseconds - latest) us")
        }
        act()
        context.fireChannelInactive()
    }

    func handlerRemoved(_ context: ChannelContext) {
        checkKept()
        self.context = nil
        handles = []
        session?.over(side)
    }

    func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) {
        let tag = Tag(tag)
        if let tunnel = tag.tunnel {
            forwarded(tag, tunnel, result, context)
        } else {
            ended(tag.range, result)
        }
        act()
    }

    func writeProgressed(_ context: ChannelContext, tag: UInt64, progress: WriteProgress) {
        session?.note(side, "progress", progress.written, progress.total)
        if progress.written <= 0 || progress.written >= progress.total {
            session?.fault("progress", "\(progress.written) of \(progress.total)")
        }
        act()
    }

    /// A write of this end is over.
    func ended(_ range: Range<Int>, _ result: WriteResult) {
        guard let session else { return }
        if let context, !context.eventLoop.isCurrent, !session.epoch.isShuttingDown {
            session.fault("completion off its loop", "#\(range)")
        }
        if result == nil, !profile.hasScrambler {
            if range.lowerBound <= lastSuccess {
                session.fault("completions out of order", "#\(range) behind #\(lastSuccess)")
            }
            lastSuccess = range.lowerBound
        }
        session.told(side, range, result)
    }

    // MARK: Doing things

    /// Does some of what is planned. From within any callback, and by itself now and then.
    func act() {
        guard let context, let session, let plan, depth < 4, hasGreeted, !plan.isTunnel else { return }
        depth += 1
        defer { depth -= 1 }
        // Before the server knows the session nothing may happen that ends it.
        let isKnown = session.isAttached || session.excuses.contains(.shutdown)
        if isKnown, !hasStartedLanes, context.channel.isActive { startLanes(session, context.channel, plan) }
        var count = isKnown || !profile.isTight ? random.between(0, 3) : 0
        while count > 0, steps > 0, context.channel.isActive, !hasEnded {
            count -= 1
            steps -= 1
            step(session, context, plan)
        }
        if steps == 0, depth == 1, isKnown {
            context.flush()
            finish(session, context, plan)
        }
        tick(session, context)
    }

    /// Comes back later, in case nothing else happens; the later, the longer nothing has.
    private func tick(_ session: Session, _ context: ChannelContext) {
        guard !hasTick, !(hasEnded && !isOutputShut), context.channel.isActive else { return }
        hasTick = true
        let delay = max(random.logarithmic(10, 3000), Int(session.idleMicroseconds / 16))
        context.eventLoop.schedule(after: .microseconds(delay)) {
            self.hasTick = false
            self.act()
        }
    }
}

/// How many writers beside the handlers are at work. Any thread.
final class LaneCount: Sendable {
    private let value = Atomic<Int>(0)
    var count: Int { value.load(ordering: .acquiring) }
    func add(_ change: Int) { value.wrappingAdd(change, ordering: .acquiringAndReleasing) }
}

/// The entries a write stands for, in the 64 bits a handler may call it by.
struct Tag {
    let range: Range<Int>
    /// The tunnel they are of; `nil`: of the end's own stream.
    let tunnel: Int?

    init(_ range: Range<Int>, tunnel: Int? = nil) {
        self.range = range
        self.tunnel = tunnel
    }

    init(_ bits: UInt64) {
        let first = Int(bits & 0xFFFF_FFFF)
        range = first..<first + Int(bits >> 32 & 0xFF_FFFF)
        tunnel = bits >> 56 == 0 ? nil : Int(bits >> 56) - 1
    }

    var bits: UInt64 {
        UInt64((tunnel ?? -1) + 1) << 56 | UInt64(range.count) << 32 | UInt64(range.lowerBound)
    }
}
