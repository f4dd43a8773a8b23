internal import CTransport
internal import Synchronization
#if canImport(Glibc)
internal import Glibc
#endif

// Writing, as everybody may do it. What handlers do goes through their context, which ends in the same queue.
extension Channel {
    /// Queues `buffer` through the pipeline; sent at the next flush. Returns at once. Any thread.
    ///
    /// - Parameter completion: called once on the channel's loop; `nil` means that the kernel has accepted all bytes.
    public func write(_ buffer: Buffer, completion: (@Sendable (WriteResult) -> Void)? = nil) {
        write(buffer, completion.map { .closure($0) } ?? .none, flush: false)
    }

    /// Has everything queued so far sent at the end of the loop's turn. Any thread.
    public func flush() {
        onLoop { self.flushFromTail() }
    }

    /// Queues `buffer` and has it sent. Returns at once. Any thread.
    public func writeAndFlush(_ buffer: Buffer, completion: (@Sendable (WriteResult) -> Void)? = nil) {
        write(buffer, completion.map { .closure($0) } ?? .none, flush: true)
    }

    /// Writes and flushes, and returns when the kernel has accepted every byte. That is not yet the peer's word.
    ///
    /// On the channel's own loop (``EventLoop/taskExecutor``) no thread is changed.
    ///
    /// - Throws: `.closed` with the first cause, `.outboundQueueFull`, `.outputShutDown`, `.loopShutDown`.
    public func send(_ buffer: Buffer) async throws(TransportError) {
        let result: WriteResult = await withUnsafeContinuation { continuation in
            write(buffer, .continuation(continuation), flush: true)
        }
        if let result { throw result }
    }

    /// False when writing on would only fill memory: the queue is above its high mark, a flag of the user says so, or the
    /// channel is not open. Writes are still taken until the hard limit. Any thread; what other threads have under way
    /// to the loop is counted.
    public var isWritable: Bool {
        guard levels.flags == 0 else { return false }
        let remote = remotePending.load(ordering: .relaxed)
        return remote == 0 || levels.pending &+ remote <= configuration.waterMark.high.bytes
    }

    /// Bytes that are queued and not yet accepted by the kernel, with ``WaterMark/entryOverhead`` for each write. Any
    /// thread.
    public var pendingBytes: Int { levels.pending &+ remotePending.load(ordering: .relaxed) }

    /// Takes a write back. True when it had not been flushed: nothing of it will be sent, and it completes with
    /// `.cancelled`. The channel's loop only.
    @discardableResult
    public func cancel(_ handle: WriteHandle) -> Bool {
        eventLoop.preconditionOnLoop()
        return cancelQueued(handle)
    }

    private func write(_ buffer: Buffer, _ completion: WriteCompletion, flush: Bool) {
        if eventLoop.isCurrent {
            writeFromTail(buffer, completion, flush: flush)
            return
        }
        // Counted at once, so that a writer on another thread that watches isWritable cannot run ahead of the loop.
        let size = buffer.count &+ WaterMark.entryOverhead.bytes
        let pending = levels.pending
        let before = remotePending.wrappingAdd(size, ordering: .relaxed).oldValue
        if pending &+ before > 0, pending &+ before &+ size > configuration.waterMark.hardLimit.bytes {
            remotePending.wrappingSubtract(size, ordering: .relaxed)
            completion.complete(TransportError(.outboundQueueFull))
            return
        }
        eventLoop.post(RemoteWrite(channel: self, buffer: buffer, completion: completion, size: size, flush: flush))
    }

    /// The channel's loop: as from behind the last handler.
    fileprivate func writeFromTail(_ buffer: Buffer, _ completion: WriteCompletion, flush: Bool) {
        if let target = ChannelContext.findBackwards(.write, from: lastContext) {
            let promise = WritePromise(completion: completion)
            target._withUnsafeGuaranteedRef { $0.handler.write($0, buffer, promise) }
        } else {
            enqueue(buffer, completion)
        }
        if flush { flushFromTail() }
    }

    fileprivate func flushFromTail() {
        if let target = ChannelContext.findBackwards(.flush, from: lastContext) {
            target._withUnsafeGuaranteedRef { $0.handler.flush($0) }
        } else {
            flushQueue()
        }
    }
}

/// A write on its way to the channel's loop.
private final class RemoteWrite: LoopWork {
    private let channel: Channel
    private let buffer: Buffer
    private let completion: WriteCompletion
    private let size: Int
    private let flush: Bool

    init(channel: Channel, buffer: Buffer, completion: WriteCompletion, size: Int, flush: Bool) {
        self.channel = channel
        self.buffer = buffer
        self.completion = completion
        self.size = size
        self.flush = flush
    }

    override func run(on loop: EventLoop) {
        channel.remotePending.wrappingSubtract(size, ordering: .relaxed)
        channel.writeFromTail(buffer, completion, flush: flush)
    }

    override func reject() {
        channel.remotePending.wrappingSubtract(size, ordering: .relaxed)
        completion.complete(TransportError(.loopShutDown))
    }
}
