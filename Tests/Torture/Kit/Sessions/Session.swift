import Glibc
import SwiftTransport
import Synchronization

/// One connection from its first byte to its end, and what is known of it. Any thread.
final class Session: @unchecked Sendable {
    /// What an end did that takes away the right to a clean end with everything in front of it.
    struct Excuses: OptionSet, Sendable {
        let rawValue: Int
        static let reset = Excuses(rawValue: 1)
        static let immediate = Excuses(rawValue: 2)
        static let cutOff = Excuses(rawValue: 4)
        static let overflow = Excuses(rawValue: 8)
        static let cancelled = Excuses(rawValue: 16)
        static let abandoned = Excuses(rawValue: 32)
        static let unreadable = Excuses(rawValue: 64)
        static let shutdown = Excuses(rawValue: 128)
        static let hang = Excuses(rawValue: 256)
        /// The network, or the machine, may end any connection.
        static let storm = Excuses(rawValue: 512)

        var names: String {
            let all = [
                "reset", "immediate", "cutOff", "overflow", "cancelled", "abandoned", "unreadable", "shutdown", "hang",
                "storm",
            ]
            return all.indices.filter { rawValue & 1 << $0 != 0 }.map { all[$0] }.joined(separator: "+")
        }
    }

    /// How to ask and how to end one end of the session when it hangs.
    private struct Hold: Sendable {
        let describe: @Sendable () -> String
        let abort: @Sendable () -> Void
    }

    private struct State {
        var isAttached = false
        var isOver = [false, false]
        var hasLeft = [false, false]
        var outstanding = 0
        var workers = 0
        var excuses = Excuses()
        var faults: [(kind: String, detail: String)] = []
        var isDone = false
        var waiter: CheckedContinuation<Void, Never>?
        var holds: [Hold] = []
    }

    let id: UInt64
    let plan: Plan
    let epoch: Epoch
    let listener: ListenerProfile
    /// Written by the client, written by the server.
    let streams: [Stream]
    let history = History()
    /// Whether a handler may hold the writes of a side back.
    let holdsWrites: [AtomicFlag]
    private let state = Mutex(State())
    /// A kernel gave the connection up for its silence, and tells nobody.
    private let hasTimedOut = AtomicFlag()
    private let lastProgress: Atomic<UInt64>
    /// One of the two sides has begun an end that its peer may see as the end of a stream.
    private let hasFinished = AtomicFlag()
    private let census = Census.Member(.session)

    init(_ id: UInt64, _ plan: Plan, _ epoch: Epoch, _ listener: ListenerProfile) {
        self.id = id
        self.plan = plan
        self.epoch = epoch
        self.listener = listener
        var random = Random(epoch.run.options.seed, id, 3)
        streams = [
            Stream(key: random.next(), hasLanes: plan.client.lanes > 0),
            Stream(key: random.next(), hasLanes: plan.server.lanes > 0),
        ]
        holdsWrites = [AtomicFlag(), AtomicFlag()]
        lastProgress = Atomic(Clock.microseconds)
    }

    func outgoing(_ side: Side) -> Stream { streams[side.rawValue] }
    func incoming(_ side: Side) -> Stream { streams[side.other.rawValue] }

    // MARK: What happens

    func note(_ side: Side, _ what: StaticString, _ first: Int = 0, _ second: Int = 0) {
        lastProgress.store(Clock.microseconds, ordering: .relaxed)
        history.add(side, what, first, second)
    }

    func excuse(_ side: Side, _ excuse: Excuses) {
        note(side, "excuse", excuse.rawValue)
        state.withLock { _ = $0.excuses.insert(excuse) }
    }

    var excuses: Excuses {
        let own = state.withLock { $0.excuses }.union(epoch.run.isStormy ? .storm : [])
        return epoch.isShuttingDown || listener.isLeaving.value ? own.union(.shutdown) : own
    }

    /// Something failed on this side.
    func noteError(_ side: Side, _ error: TransportError) {
        note(side, "error", Int(error.code.rawValue), Int(error.errno))
        incoming(side).ended(.broken)
        if error.errno == ETIMEDOUT { hasTimedOut.set() }
        // What is wrong on this side only ends the channel, and with it the stream.
        if ![ECONNRESET, ETIMEDOUT, EPIPE].contains(error.errno) { finishes() }
    }

    /// This side will not look at what still comes in.
    func leave(_ side: Side) {
        state.withLock { $0.hasLeft[side.rawValue] = true }
        incoming(side).ended(.left)
    }

    func hasLeft(_ side: Side) -> Bool { state.withLock { $0.hasLeft[side.rawValue] } }

    /// Whether the session knows why a connection was lost. An end that has waited for its peer long enough resets, and where packets
    /// are lost the peer may be there all the same.
    func explains(_ error: TransportError, on side: Side) -> Bool {
        if !excuses.isEmpty { return true }
        guard epoch.run.losesPackets, error.code == .connectionLost, hasLeft(side.other) || isOver(side.other) else {
            return false
        }
        state.withLock { _ = $0.excuses.insert(.abandoned) }
        return true
    }

    private func isOver(_ side: Side) -> Bool { state.withLock { $0.isOver[side.rawValue] } }

    /// Something is wrong.
    func fault(_ kind: String, _ detail: String) {
        state.withLock { if $0.faults.count < 8 { $0.faults.append((kind, detail)) } }
    }

    /// Bytes came in on this side.
    func received(
        _ side: Side, _ bytes: UnsafeRawBufferPointer, _ segments: UnsafeMutablePointer<[Stream.Segment]>? = nil
    ) {
        note(side, "received", bytes.count)
        epoch.run.count(bytes: bytes.count)
        if let fault = incoming(side).receive(bytes, segments) { self.fault("bytes", "to the \(side): \(fault)") }
    }

    // MARK: Promises

    /// A write that somebody will be told about.
    func promised() { state.withLock { $0.outstanding += 1 } }

    func told(_ side: Side, _ range: Range<Int>, _ result: WriteResult) {
        note(side, result == nil ? "told success" : "told failure", range.lowerBound, Int(result?.code.rawValue ?? 0))
        if !outgoing(side).told(range, result) {
            // Perhaps long after the session.
            epoch.run.report.faults(self, [("told twice", "\(range) \(String(describing: result))")])
        }
        state.withLock { $0.outstanding -= 1 }
        finishIfDone()
    }

    // MARK: Ends

    /// A side begins to end its stream, in whatever way that is no reset.
    func finishes() { hasFinished.set() }

    /// A side sees the end of the other's stream. A reset does not look like that.
    func sawEnd(_ side: Side) {
        incoming(side).ended(.clean)
        let run = epoch.run
        guard run.setting.isSimulated, isAttached, !hasFinished.value, !run.refusesMemory, !run.endsByItself,
            !run.losesCompletions,
            excuses.isDisjoint(with: [.shutdown, .hang]),
            // It failed, and its task has not yet heard of it.
            !(run.isStormy && isOver(side.other))
        else { return }
        fault("an end of stream that nobody made", "seen by the \(side)")
    }

    /// Tasks and threads that still do something for the session.
    func workerStarted() { state.withLock { $0.workers += 1 } }
    func workerEnded() {
        state.withLock { $0.workers -= 1 }
        finishIfDone()
    }
    var hasWorkers: Bool { state.withLock { $0.workers > 0 } }

    /// For a session that hangs: how to see the state of one of its ends, and how to end it by force. Called on the driver's
    /// thread.
    func hold(describe: @escaping @Sendable () -> String, abort: @escaping @Sendable () -> Void) {
        state.withLock { if !$0.isDone { $0.holds.append(Hold(describe: describe, abort: abort)) } }
    }

    func hold(_ side: Side, _ channel: Channel) {
        hold { [weak channel] in
            guard let channel else { return "\(side): its channel is gone" }
            let state =
                "active \(channel.isActive), writable \(channel.isWritable), \(channel.pendingBytes) bytes pending"
            return "\(side): loop \(channel.eventLoop.index), \(state)"
        } abort: {
            [weak channel] in
            channel?.close(.reset)
        }
    }

    /// The server's end has recognised it.
    func attach() { state.withLock { $0.isAttached = true } }
    var isAttached: Bool { state.withLock { $0.isAttached } }

    /// An end that has been recognised and is not over.
    func isOpen(_ side: Side) -> Bool {
        state.withLock { $0.isAttached && !$0.isOver[side.rawValue] && !$0.isDone }
    }

    func over(_ side: Side) {
        note(side, "over")
        incoming(side).ended(.left)
        state.withLock { $0.isOver[side.rawValue] = true }
        finishIfDone()
    }

    /// The client never got anywhere, or no server will ever ask for the session: there is no other end.
    func overWithoutServer() {
        state.withLock { if !$0.isAttached { $0.isOver[Side.server.rawValue] = true } }
        finishIfDone()
    }

    /// The client is gone, and no server has asked for the session.
    var hasNoServer: Bool { state.withLock { $0.isOver[Side.client.rawValue] && !$0.isAttached } }

    func finished() async {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if !state.isDone { state.waiter = continuation }
                return state.isDone
            }
            if isDone { continuation.resume() }
        }
    }

    private func finishIfDone() {
        let waiter = state.withLock { state -> (CheckedContinuation<Void, Never>?)? in
            guard !state.isDone, state.isOver[0], state.isOver[1], state.outstanding <= 0, state.workers == 0 else {
                return nil
            }
            state.isDone = true
            state.holds = []
            defer { state.waiter = nil }
            return .some(state.waiter)
        }
        if let waiter {
            judge()
            waiter?.resume()
        }
    }

    // MARK: Watching

    /// One side ended with a reset, and the other does not seem to know.
    var mayHaveLostItsReset: Bool {
        if hasTimedOut.value { return true }
        let oneIsOver = isOver(.client) != isOver(.server)
        // In storms channels have time limits, and a kernel that gives up what was closed already tells neither side.
        if epoch.run.isStormy, oneIsOver { return true }
        return epoch.run.losesPackets && (!excuses.isEmpty || oneIsOver)
    }

    var idleMicroseconds: UInt64 {
        let now = Clock.microseconds
        let last = lastProgress.load(ordering: .relaxed)
        return now > last ? now - last : 0
    }

    /// Nothing happened for too long.
    func hang() {
        epoch.run.report.hang(self, state.withLock { $0.holds }.map { "  " + $0.describe() })
        state.withLock { _ = $0.excuses.insert(.hang) }
    }

    func abort() {
        // Whatever end they see now, we made it.
        leave(.client)
        leave(.server)
        for hold in state.withLock({ $0.holds }) { hold.abort() }
    }

    /// Not even force helped.
    func giveUp() {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.isDone = true
            state.holds = []
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    // MARK: The truth

    private func judge() {
        let excuses = excuses
        if !excuses.contains(.hang) {
            for side in [Side.client, .server] {
                let hasLeft = hasLeft(side.other)
                let terms = Terms(
                    isWhole: excuses.isEmpty && !hasLeft, canTellReset: !listener.isUnix,
                    isExact: !holdsWrites[side.rawValue].value && !epoch.run.losesCompletions)
                for fault in outgoing(side).verdict(terms) {
                    self.fault(fault.kind, "from the \(side): \(fault.detail)")
                }
            }
        }
        let faults = state.withLock { $0.faults }
        if !faults.isEmpty { epoch.run.report.faults(self, faults) }
    }

    var summary: [String] {
        let state = state.withLock { $0 }
        var lines = ["session \(id): library at \(plan.shape), \(listener.summary), excuses: \(excuses.names)"]
        for side in [Side.client, .server] {
            let end = plan[side]
            lines.append(
                "  \(side): \(end.isEnder ? "ender by \(end.ending)" : "follower"), \(end.steps) steps, \(end.lanes) lanes\(end.isEcho ? ", echo" : "")"
                    + "\(end.isTask ? ", task" : ""); over \(state.isOver[side.rawValue]), left \(state.hasLeft[side.rawValue])"
            )
            lines.append("  \(side) wrote \(outgoing(side).summary)")
        }
        lines.append(
            "  attached \(state.isAttached), \(state.outstanding) promises and \(state.workers) workers outstanding")
        return lines + history.lines
    }
}

/// A flag that is set once.
final class AtomicFlag: Sendable {
    private let flag = Atomic<Bool>(false)
    var value: Bool { flag.load(ordering: .acquiring) }
    func set() { flag.store(true, ordering: .releasing) }
}
