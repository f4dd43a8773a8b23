internal import Synchronization

/// Channels that are spoken to together: the members of a room, the subscribers of a feed. Of any loops; any thread.
///
///     let room = ChannelGroup()
///     room.add(context.channel)                                       // leaves by itself when it closes
///     room.writeAndFlush("news\n")                                    // to all
///     room.writeAndFlush(line, where: { $0 !== sender && $0.isWritable })
///
/// A broadcast takes a lock once and puts one message into the mailbox of each loop that has members (two small allocations; none
/// for the loop it is called on, where it happens at once). All members send the same bytes, which nobody copies beyond
/// ``LoopOptions/copyLimit``. To one channel broadcasts of one thread, and its own writes, come in the order of the calls.
///
/// Nobody is told how such a write ended. So a member that does not keep up is closed when its queue is at its hard limit, as by every
/// write that nobody waits for; a condition such as `isWritable` leaves it out before. On its way to another loop a broadcast counts
/// in no channel's limits, but once in what may be on its way to that loop (``LoopOptions/outboundBudget``). A loop that is so far
/// behind that this is used up gets no more of them, and its members are closed, whatever the condition says.
public final class ChannelGroup: Sendable {
    private struct State {
        var members = Members()
        /// The members by their loops; made when it is needed, forgotten when somebody comes or goes.
        var parts: [Part]?
        var waiters: [UnsafeContinuation<Void, Never>] = []
        /// What channels have that are in no other group.
        var membership: GroupMembership?
    }
    /// Channels, each once, in an order that depends on nothing but who came and went: what happens to all of them happens in the
    /// same order in every run of a simulated network.
    private struct Members {
        private(set) var channels: [Channel] = []
        private var places: [ObjectIdentifier: Int] = [:]

        func contains(_ channel: Channel) -> Bool { places[ObjectIdentifier(channel)] != nil }

        mutating func insert(_ channel: Channel) -> Bool {
            guard !contains(channel) else { return false }
            places[ObjectIdentifier(channel)] = channels.count
            channels.append(channel)
            return true
        }

        mutating func remove(_ channel: Channel) -> Bool {
            guard let place = places.removeValue(forKey: ObjectIdentifier(channel)) else { return false }
            let last = channels.removeLast()
            if last !== channel {
                channels[place] = last
                places[ObjectIdentifier(last)] = place
            }
            return true
        }
    }
    private struct Part: Sendable {
        let loop: EventLoop
        var channels: [Channel]
    }
    private let state = Mutex(State())

    /// An empty group.
    public init() {}

    // MARK: Members

    /// Adds a channel, which leaves when it closes. False when it is a member already. A group that is gone is not kept by its
    /// members.
    @discardableResult
    public func add(_ channel: Channel) -> Bool {
        let membership = state.withLock { state -> GroupMembership? in
            guard state.members.insert(channel) else { return nil }
            state.parts = nil
            let membership = state.membership ?? GroupMembership(self)
            state.membership = membership
            return membership
        }
        guard let membership else { return false }
        channel.belong(to: membership)
        return true
    }

    /// Takes a channel out. False when it is no member.
    @discardableResult
    public func remove(_ channel: Channel) -> Bool {
        let (wasMember, waiters) = state.withLock { state in
            guard state.members.remove(channel) else {
                return (false, [UnsafeContinuation<Void, Never>]())
            }
            state.parts = nil
            guard state.members.channels.isEmpty else { return (true, []) }
            defer { state.waiters = [] }
            return (true, state.waiters)
        }
        for waiter in waiters { waiter.resume() }
        return wasMember
    }

    /// How many members there are, at this moment.
    public var count: Int { state.withLock { $0.members.channels.count } }

    /// The members of this moment, in no order.
    public var channels: [Channel] { state.withLock { $0.members.channels } }

    /// Whether `channel` is a member, at this moment.
    public func contains(_ channel: Channel) -> Bool {
        state.withLock { $0.members.contains(channel) }
    }

    /// Returns when there is no member, such as after ``close(_:)``.
    public func closed() async {
        await withUnsafeContinuation { continuation in
            let isEmpty = state.withLock { state in
                let isEmpty = state.members.channels.isEmpty
                if !isEmpty { state.waiters.append(continuation) }
                return isEmpty
            }
            if isEmpty { continuation.resume() }
        }
    }

    // MARK: To all members

    /// Queues `buffer` on every member, through its pipeline; sent at the next flush.
    ///
    /// - Parameters:
    ///   - buffer: what is written.
    ///   - condition: which members get it, asked on the loop of each when it is its turn. Default: all.
    public func write(_ buffer: Buffer, where condition: (@Sendable (Channel) -> Bool)? = nil) {
        each(buffer.count, where: condition) { $0.write(buffer) }
    }

    /// Queues `buffer` on every member and has it sent: see ``write(_:where:)``.
    public func writeAndFlush(_ buffer: Buffer, where condition: (@Sendable (Channel) -> Bool)? = nil) {
        each(buffer.count, where: condition) { $0.writeAndFlush(buffer) }
    }

    /// Queues a message that a handler of each member turns into bytes: see ``write(_:where:)``.
    public func write(message: any Sendable, where condition: (@Sendable (Channel) -> Bool)? = nil) {
        each(0, where: condition) { $0.write(message: message) }
    }

    /// Queues a message on every member and has it sent: see ``write(message:where:)``.
    public func writeAndFlush(message: any Sendable, where condition: (@Sendable (Channel) -> Bool)? = nil) {
        each(0, where: condition) { $0.writeAndFlush(message: message) }
    }

    /// Has everything queued on the members sent at the end of the turns of their loops.
    public func flush() { each { $0.flush() } }

    /// Closes every member. Returns at once; ``closed()`` waits. Default: graceful.
    public func close(_ mode: CloseMode = .graceful) { each { $0.close(mode) } }

    /// - Parameter size: how many bytes are written; `nil`: nothing is.
    private func each(
        _ size: Int? = nil, where condition: (@Sendable (Channel) -> Bool)? = nil,
        _ body: @escaping @Sendable (Channel) -> Void
    ) {
        let weight = size.map { $0 &+ Channel.messageOverhead } ?? 0
        for part in parts() {
            let work = GroupWork(part.channels, weight: weight) { channel in
                if condition?(channel) ?? true { body(channel) }
            }
            if part.loop.isCurrent {
                work.perform()
            } else if part.loop.announce(weight, always: size == nil) {
                part.loop.post(work)
            } else {
                for channel in part.channels { channel.missWrite(.loopBudgetExhausted) }
            }
        }
    }

    private func parts() -> [Part] {
        state.withLock { state in
            if let parts = state.parts { return parts }
            var parts: [Part] = []
            var places: [ObjectIdentifier: Int] = [:]
            for channel in state.members.channels {
                let loop = channel.eventLoop
                let place = places[ObjectIdentifier(loop)] ?? parts.count
                if place == parts.count {
                    places[ObjectIdentifier(loop)] = place
                    parts.append(Part(loop: loop, channels: []))
                }
                parts[place].channels.append(channel)
            }
            state.parts = parts
            return parts
        }
    }
}

/// What a group does with its members on one loop.
private final class GroupWork: LoopWork {
    private let channels: [Channel]
    /// What it counts on its way.
    private let weight: Int
    private let body: (Channel) -> Void

    init(_ channels: [Channel], weight: Int, _ body: @escaping (Channel) -> Void) {
        self.channels = channels
        self.weight = weight
        self.body = body
    }

    func perform() {
        for channel in channels { body(channel) }
    }

    override func run(on loop: EventLoop) {
        loop.arrived(weight)
        perform()
    }

    /// Without memory to bring it there the members' streams would have a hole that nobody knows of.
    override func reject(_ why: TransportError.Code) {
        channels.first?.eventLoop.arrived(weight)
        if why == .outOfMemory { for channel in channels { channel.close(.reset) } }
    }

    override var mustArrive: Bool { false }
}
