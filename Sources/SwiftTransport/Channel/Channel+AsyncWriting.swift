internal import Synchronization

// Writing as tasks do it: `write` queues and returns at once, `send` flushes and waits until the kernel has it.
extension Channel {
    /// Writes and flushes, and returns when the kernel has accepted every byte. That is not yet the peer's word.
    ///
    /// On the channel's own loop (``EventLoop/taskExecutor``) no thread is changed. When the queue is at its hard limit, or the
    /// loop at its budget, the write waits for its turn, behind the tasks that came before: awaiting is the back pressure.
    ///
    /// A task that is cancelled throws `.cancelled`. If the kernel had not begun with the write, nothing of it is sent; else
    /// the channel ends with a reset, because the rest of it will never come.
    ///
    /// - Parameters:
    ///   - buffer: what is written.
    ///   - flush: false leaves the flush to somebody else; until then the write can be taken back.
    /// - Throws: `.closed` with the first cause, `.cancelled`, `.outputShutDown`, `.notYetConnected`, `.loopShutDown`.
    public func send(_ buffer: Buffer, flush: Bool = true) async throws(TransportError) {
        if let error = await awaitedSend(.bytes(buffer), flush: flush) { throw error }
    }

    /// The same for a copy of `bytes`.
    public func send(_ bytes: RawSpan, flush: Bool = true) async throws(TransportError) {
        try await send(Buffer(copying: bytes), flush: flush)
    }

    /// The same for the UTF-8 bytes of `text`.
    public func send(_ text: String, flush: Bool = true) async throws(TransportError) {
        try await send(Buffer(text), flush: flush)
    }

    /// The same for a part of a file, which is never in memory as a whole.
    ///
    /// - Throws: also what reading the file said, as `.system`.
    public func send(_ file: FileRegion, flush: Bool = true) async throws(TransportError) {
        if let error = await awaitedSend(.file(file), flush: flush) { throw error }
    }

    /// The same for a message that a handler turns into bytes. While it waits for its turn it counts as an entry without
    /// bytes: their number is not known yet.
    ///
    /// - Throws: also `.unencodableMessage` when no handler does, `.promiseDropped` when one took it and forgot it.
    public func send(message: any Sendable, flush: Bool = true) async throws(TransportError) {
        if let error = await awaitedSend(.message(message), flush: flush) { throw error }
    }

    private func awaitedSend(_ content: WriteContent, flush: Bool) async -> WriteResult {
        let write = AwaitedWrite(self, content, flush: flush)
        return await withTaskCancellationHandler {
            await withUnsafeContinuation { write.start($0) }
        } onCancel: {
            write.cancel()
        }
    }
}

/// A write that a task awaits and may give up. What is not marked otherwise belongs to the channel's loop.
final class AwaitedWrite: LoopWork, @unchecked Sendable {
    private let channel: Channel
    private let content: WriteContent
    private let flush: Bool
    /// What it counts as pending.
    let size: Int
    private var continuation: UnsafeContinuation<WriteResult, Never>?
    private var handle = WriteHandle.stale
    private var isAnnounced = false
    private var hasArrived = false
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
        self.continuation = continuation
        if channel.isOnLoop { return arrive() }
        isAnnounced = channel.announce(size)
        channel.eventLoop.post(self)
    }

    /// Any thread.
    func cancel() {
        isCancelled.store(true, ordering: .sequentiallyConsistent)
        // On the loop too only when whoever cancels is done: it may stand in the middle of anything.
        channel.eventLoop.post(ClosureWork { _ in self.giveUp() })
    }

    private func giveUp() {
        // What is still on its way sees by itself that it was cancelled, and is not the loop's yet.
        guard hasArrived else { return }
        if continuation != nil, channel.stopWaiting(self) {
            end(TransportError(.cancelled, call: .send))
        } else {
            channel.giveUp(handle)
        }
    }

    override func run(on loop: EventLoop) {
        if isAnnounced { channel.remotePending.wrappingSubtract(size, ordering: .relaxed) }
        defer { channel.caughtUp() }
        arrive()
    }

    private func arrive() {
        hasArrived = true
        if isCancelled.load(ordering: .sequentiallyConsistent) {
            end(TransportError(.cancelled, call: .send))
        } else {
            // What it would flush is flushed now, or it could wait for its own flush.
            if flush, channel.mustWait(size) { channel.flushFromTail() }
            if channel.mustWait(size) { channel.wait(self) } else { begin() }
        }
    }

    /// Its turn has come. What handlers make of it belongs to it: they are not refused half of it. A write that nobody wants any
    /// more does not begin: a handler could keep it, and whoever gave it up has flushed for the last time.
    func begin() {
        if isCancelled.load(ordering: .sequentiallyConsistent) { return end(TransportError(.cancelled, call: .send)) }
        guard let continuation else { return }
        self.continuation = nil
        let outer = channel.own.writing.isAdmitted
        channel.own.writing.isAdmitted = true
        handle = channel.writeFromTail(content, .continuation(continuation))
        channel.own.writing.isAdmitted = outer
        if flush { channel.flushFromTail() }
    }

    private func end(_ result: WriteResult) {
        continuation?.resume(returning: result)
        continuation = nil
    }

    override func reject(_ why: TransportError.Code) {
        if isAnnounced { channel.remotePending.wrappingSubtract(size, ordering: .relaxed) }
        end(TransportError(why))
    }

    override var mustArrive: Bool { false }
}
