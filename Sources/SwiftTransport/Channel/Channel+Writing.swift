internal import CTransport
internal import Synchronization

// Writing, as everybody may do it. What handlers do goes through their context, which ends in the same queue.
extension Channel {
    /// Queues `buffer` through the pipeline; sent at the next flush. Returns at once. Any thread. On the channel's loop handlers
    /// may be called before it returns: see ``ChannelHandler``.
    ///
    /// - Parameter promise: who is told how it ended; default nobody.
    public func write(_ buffer: Buffer, promise: consuming WritePromise) {
        write(buffer, promise.take(), flush: false)
    }

    /// Queues `buffer` through the pipeline; sent at the next flush. Returns at once. Any thread. On the channel's loop handlers
    /// may be called before it returns: see ``ChannelHandler``.
    ///
    /// - Parameter completion: called once on the channel's loop; `nil` means that the kernel has accepted all bytes.
    public func write(_ buffer: Buffer, completion: (@Sendable (WriteResult) -> Void)? = nil) {
        write(buffer, completion.map { .closure($0) } ?? .none, flush: false)
    }

    /// Has everything queued so far sent at the end of the loop's turn. Any thread. On the channel's loop handlers may be called
    /// before it returns: see ``ChannelHandler``.
    public func flush() {
        if isOnLoop { flushFromTail() } else { eventLoop.post(ClosureWork { _ in self.flushFromTail() }) }
    }

    /// Queues `buffer` and has it sent. Returns at once. Any thread.
    public func writeAndFlush(_ buffer: Buffer, promise: consuming WritePromise) {
        write(buffer, promise.take(), flush: true)
    }

    /// Queues `buffer` and has it sent. Returns at once. Any thread.
    public func writeAndFlush(_ buffer: Buffer, completion: (@Sendable (WriteResult) -> Void)? = nil) {
        write(buffer, completion.map { .closure($0) } ?? .none, flush: true)
    }

    /// Queues a message that a handler turns into bytes; if none does, `promise` fails with `.unencodableMessage`. Any
    /// thread. On its way to the loop it counts as an entry without bytes: their number is not known yet.
    public func write(message: any Sendable, promise: consuming WritePromise = .none) {
        write(.message(message), promise.take())
    }

    /// Queues a part of a file behind what is queued already, past all handlers. Any thread.
    public func write(_ file: FileRegion, promise: consuming WritePromise = .none) {
        write(.file(file), promise.take())
    }

    /// Takes a write back. True when it had not been flushed: nothing of it will be sent, and it completes with
    /// `.cancelled`. The channel's loop only.
    @discardableResult
    public func cancel(_ handle: WriteHandle) -> Bool {
        eventLoop.requireOnLoop()
        return cancelQueued(handle)
    }

    // MARK: On the loop or on the way to it

    private func write(_ buffer: Buffer, _ completion: WriteCompletion, flush: Bool) {
        if isOnLoop {
            writeFromTail(buffer, completion)
            if flush { flushFromTail() }
        } else {
            post(.bytes(buffer), completion, flush: flush)
        }
    }

    private func write(_ content: WriteContent, _ completion: WriteCompletion) {
        if isOnLoop { writeFromTail(content, completion) } else { post(content, completion, flush: false) }
    }

    /// Counted at once, so that a writer on another thread that watches isWritable cannot run ahead of the loop.
    private func post(_ content: WriteContent, _ completion: WriteCompletion, flush: Bool) {
        let size = content.weight &+ WaterMark.entryOverhead.bytes
        let isTaken = announce(size)
        // Refused, it travels all the same, without its content: promises are kept on the loop, and in order.
        let work = RemoteWrite(
            channel: self, isTaken ? content : nil, completion, size: isTaken ? size : 0, flush: flush)
        eventLoop.post(work)
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

    /// As from behind the last handler. The channel's loop.
    @discardableResult
    func writeFromTail(_ buffer: Buffer, _ completion: WriteCompletion) -> WriteHandle {
        write(buffer, completion, from: own.last)
    }

    @discardableResult
    func writeFromTail(_ content: WriteContent, _ completion: WriteCompletion) -> WriteHandle {
        switch content {
        case .bytes(let buffer): writeFromTail(buffer, completion)
        case .file(let file): enqueue(file, completion)
        case .message(let message): write(message: message, completion, from: own.last)
        }
    }

    func flushFromTail() { flush(from: own.last) }

    // MARK: Outwards, to the next handler from `start` on that wants it, or past all of them. The channel's loop

    /// The handle is stale when a handler kept the write or gave it a promise of its own.
    @inline(__always)
    func write(
        _ buffer: Buffer, _ completion: WriteCompletion, from start: PipelineLink
    ) -> WriteHandle {
        let isTaken = start.callOutwards(.write) { $0.handler.write($0, buffer, WritePromise(completion)) }
        return isTaken ? passedOn(completion) : enqueue(buffer, completion)
    }

    func write(
        message: any Sendable, _ completion: WriteCompletion, from start: PipelineLink
    ) -> WriteHandle {
        let isTaken = start.callOutwards(.write) {
            $0.handler.write($0, message: message, promise: WritePromise(completion))
        }
        if isTaken { return passedOn(completion) }
        refuseMessage(completion)
        return .stale
    }

    @inline(__always)
    func flush(from start: PipelineLink) {
        if !start.callOutwards(.flush, { $0.handler.flush($0) }) { flushQueue() }
    }
}

/// What may be written.
enum WriteContent {
    case bytes(Buffer)
    case file(FileRegion)
    case message(any Sendable)

    var weight: Int {
        switch self {
        case .bytes(let buffer): buffer.count
        case .file(let file): FileRegion.weight(of: file.count)
        case .message: 0
        }
    }
}

/// A write on its way to the channel's loop.
private final class RemoteWrite: LoopWork {
    private let channel: Channel
    private let content: WriteContent?
    private let completion: WriteCompletion
    private let size: Int
    private let flush: Bool

    init(channel: Channel, _ content: WriteContent?, _ completion: WriteCompletion, size: Int, flush: Bool) {
        self.channel = channel
        self.content = content
        self.completion = completion
        self.size = size
        self.flush = flush
    }

    override func run(on loop: EventLoop) {
        channel.remotePending.wrappingSubtract(size, ordering: .relaxed)
        if let content {
            channel.writeFromTail(content, completion)
        } else {
            channel.refuse(completion, TransportError(.outboundQueueFull))
        }
        if flush { channel.flushFromTail() }
        channel.caughtUp()
    }

    override func reject(_ why: TransportError.Code) {
        channel.remotePending.wrappingSubtract(size, ordering: .relaxed)
        completion.complete(TransportError(why))
    }

    override var mustArrive: Bool { false }
}
