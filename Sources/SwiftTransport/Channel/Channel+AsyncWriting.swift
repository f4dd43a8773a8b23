internal import Synchronization

// Writing as tasks do it.
extension Channel {
    /// Writes and flushes, and returns when the kernel has accepted every byte. That is not yet the peer's word.
    ///
    /// On the channel's own loop (``EventLoop/taskExecutor``) no thread is changed. A task that is cancelled before the
    /// write was flushed takes it back.
    ///
    /// - Parameter flush: false leaves the flush to somebody else; until then the write can be taken back.
    /// - Throws: `.closed` with the first cause, `.cancelled`, `.outboundQueueFull`, `.loopBudgetExhausted`,
    ///   `.outputShutDown`, `.notYetConnected`, `.loopShutDown`.
    public func send(_ buffer: Buffer, flush: Bool = true) async throws(TransportError) {
        let result: WriteResult
        if flush, canSendAtOnce {
            if Task.isCancelled { throw TransportError(.cancelled, call: .send) }
            result = await withUnsafeContinuation { continuation in
                writeFromTail(buffer, .continuation(continuation))
                flushQueue()
            }
        } else {
            result = await cancellableSend(.bytes(buffer), flush: flush)
        }
        if let result { throw result }
    }

    /// Sends a part of a file behind what is queued already, past all handlers: as ``send(_:flush:)-(Buffer,_)``.
    ///
    /// - Throws: also what reading the file said, as `.system`.
    public func send(_ file: FileRegion, flush: Bool = true) async throws(TransportError) {
        if let error = await cancellableSend(.file(file), flush: flush) { throw error }
    }

    /// Sends a message that a handler turns into bytes: as ``send(_:flush:)-(Buffer,_)``.
    ///
    /// - Throws: also `.unencodableMessage` when no handler does, `.promiseDropped` when one took it and forgot it.
    public func send(message: any Sendable, flush: Bool = true) async throws(TransportError) {
        if let error = await cancellableSend(.message(message), flush: flush) { throw error }
    }

    /// Queued and flushed in one step: there is no time in which it could be taken back. Handlers may hold a flush up.
    private var canSendAtOnce: Bool {
        isOnLoop && ChannelContext.findBackwards(.flush, from: lastContext) == nil
    }

    private func cancellableSend(_ content: WriteContent, flush: Bool) async -> WriteResult {
        let write = CancellableWrite(self, content, flush: flush)
        return await withTaskCancellationHandler {
            await withUnsafeContinuation { write.start($0) }
        } onCancel: {
            write.cancel()
        }
    }
}

/// A write that a task awaits and may give up. What is not marked otherwise belongs to the channel's loop.
private final class CancellableWrite: LoopWork, @unchecked Sendable {
    private let channel: Channel
    private let content: WriteContent
    private let flush: Bool
    private let size: Int
    private var continuation: UnsafeContinuation<WriteResult, Never>?
    private var handle = WriteHandle.stale
    private var isTaken = true
    // Any thread.
    private let isCancelled = Atomic<Bool>(false)

    init(_ channel: Channel, _ content: WriteContent, flush: Bool) {
        self.channel = channel
        self.content = content
        self.flush = flush
        size = content.weight &+ WaterMark.entryOverhead.bytes
    }

    /// Any thread.
    func start(_ continuation: UnsafeContinuation<WriteResult, Never>) {
        isTaken = channel.announce(size)
        self.continuation = continuation
        if channel.isOnLoop { run(on: channel.eventLoop) } else { channel.eventLoop.post(self) }
    }

    /// Any thread.
    func cancel() {
        isCancelled.store(true, ordering: .sequentiallyConsistent)
        channel.eventLoop.post(ClosureWork { _ in _ = self.channel.cancelQueued(self.handle) })
    }

    override func run(on loop: EventLoop) {
        if isTaken { channel.remotePending.wrappingSubtract(size, ordering: .relaxed) }
        defer { channel.caughtUp() }
        guard let continuation else { return }
        self.continuation = nil
        if isCancelled.load(ordering: .sequentiallyConsistent) {
            continuation.resume(returning: TransportError(.cancelled, call: .send))
            return
        }
        guard isTaken else {
            channel.refuse(.continuation(continuation), TransportError(.outboundQueueFull))
            return
        }
        handle = channel.writeFromTail(content, .continuation(continuation))
        if flush { channel.flushFromTail() }
    }

    override func reject() {
        if isTaken { channel.remotePending.wrappingSubtract(size, ordering: .relaxed) }
        continuation?.resume(returning: TransportError(.loopShutDown))
        continuation = nil
    }
}
