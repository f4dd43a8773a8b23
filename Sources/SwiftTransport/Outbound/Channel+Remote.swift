internal import Glibc
internal import Synchronization

// Writes on their way from another thread to the channel's loop. What is on its way counts at once, on the channel and on the loop,
// so that neither fills memory while the loop is busy.
extension Channel {
    /// What a message in a mailbox takes, beside the bytes that it carries.
    static let messageOverhead = 160

    /// Counted at once, so that a writer on another thread that watches isWritable cannot run ahead of the loop.
    func post(_ content: WriteContent, _ completion: WriteCompletion, flush: Bool) {
        let size = content.weight &+ WaterMark.entryOverhead.bytes
        let isFirst = pendingBytes == 0
        guard announce(size) else { return postRefusal(.outboundQueueFull, completion, flush: flush) }
        let weight = content.weight &+ Self.messageOverhead
        guard eventLoop.announce(weight, always: isFirst) else {
            remotePending.wrappingSubtract(size, ordering: .relaxed)
            return postRefusal(.loopBudgetExhausted, completion, flush: flush)
        }
        eventLoop.post(RemoteWrite(self, .success(content), completion, size: size, weight: weight, flush: flush))
    }

    /// Refused, it travels all the same, without its content: promises are kept on the loop, and in order. Not more of them than
    /// there is room for: the rest is told here.
    private func postRefusal(_ why: TransportError.Code, _ completion: WriteCompletion, flush: Bool) {
        if completion.isNone { return missWrite(why) }
        let isTold = !eventLoop.announce(Self.messageOverhead, always: Nesting.isDeep)
        if isTold { return Nesting.within { completion.complete(TransportError(why)) } }
        eventLoop.post(
            RemoteWrite(
                self, .failure(TransportError(why)), completion, size: 0, weight: Self.messageOverhead, flush: flush))
    }

    /// A write that nobody waits for is refused on its way, and with it the channel ends: the first one says so, and nothing has to
    /// be said of those behind it. Any thread.
    func missWrite(_ why: TransportError.Code) {
        guard !hasMissedWrite.load(ordering: .relaxed), !hasMissedWrite.exchange(true, ordering: .relaxed) else {
            return
        }
        eventLoop.post(RemoteWrite(self, .failure(TransportError(why)), .none, size: 0, weight: 0, flush: false))
    }

    /// Counts a write on its way to the loop. False, and not counted, when it would exceed the hard limit. Any thread.
    func announce(_ size: Int) -> Bool {
        let before = remotePending.wrappingAdd(size, ordering: .sequentiallyConsistent).oldValue &+ levels.pending
        // Before the loop can get to this write: it tells the handlers when it has caught up (netty#4739).
        if before &+ size > levels.high { isAheadOfLoop.store(true, ordering: .sequentiallyConsistent) }
        if before > 0, before &+ size > levels.hardLimit {
            remotePending.wrappingSubtract(size, ordering: .relaxed)
            return false
        }
        return true
    }
}

extension EventLoop {
    /// Counts what is on its way to the loop in a message. False, and not counted, when that would be more than the loop's budget
    /// for queued bytes, unless nothing else is on its way. Any thread.
    func announce(_ weight: Int, always: Bool = false) -> Bool {
        let before = onTheWay.wrappingAdd(weight, ordering: .relaxed).oldValue
        if always || before <= 0 || before &+ weight <= options.outboundBudget.bytes { return true }
        arrived(weight)
        return false
    }

    /// It is there, or never will be.
    func arrived(_ weight: Int) { onTheWay.wrappingSubtract(weight, ordering: .relaxed) }
}

/// Refusals that are told within each other on this thread: a completion that answers each with another write must not use up the
/// stack, and gets the next answer from the loop.
private enum Nesting {
    private static let deepest = 16
    /// Where a thread counts them; `nil`: the process has no more such places, and all are told by the loop.
    private static let key: pthread_key_t? = {
        var key = pthread_key_t()
        return pthread_key_create(&key, nil) == 0 ? key : nil
    }()

    static var isDeep: Bool { key.map { Int(bitPattern: pthread_getspecific($0)) >= deepest } ?? true }

    static func within(_ body: () -> Void) {
        guard let key else { return body() }
        let outer = pthread_getspecific(key)
        pthread_setspecific(key, UnsafeRawPointer(bitPattern: Int(bitPattern: outer) + 1))
        body()
        pthread_setspecific(key, outer)
    }
}

/// A write on its way to the channel's loop, or why it was refused.
private final class RemoteWrite: LoopWork {
    private let channel: Channel
    private let content: Result<WriteContent, TransportError>
    private let completion: WriteCompletion
    /// What it counts on the channel, and on the loop.
    private let size: Int
    private let weight: Int
    private let flush: Bool

    init(
        _ channel: Channel, _ content: Result<WriteContent, TransportError>, _ completion: WriteCompletion,
        size: Int, weight: Int, flush: Bool
    ) {
        self.channel = channel
        self.content = content
        self.completion = completion
        self.size = size
        self.weight = weight
        self.flush = flush
    }

    private func arrive() {
        channel.remotePending.wrappingSubtract(size, ordering: .relaxed)
        channel.eventLoop.arrived(weight)
    }

    override func run(on loop: EventLoop) {
        arrive()
        switch content {
        case .success(let content): channel.writeFromTail(content, completion)
        case .failure(let error): channel.refuse(completion, error)
        }
        if flush { channel.flushFromTail() }
        channel.caughtUp()
    }

    override func reject(_ why: TransportError.Code) {
        arrive()
        // Nobody is told, and the stream has a hole.
        if completion.isNone, why == .outOfMemory { channel.close(.reset) }
        completion.complete(TransportError(why))
    }

    override var mustArrive: Bool { false }
}
