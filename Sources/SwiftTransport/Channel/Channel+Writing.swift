internal import CTransport

// Writing, as everybody may do it: the same six kinds of content as a handler has through its context, which ends in the same
// queue. Returns at once; who wants to wait sends (``send(_:flush:)-(Buffer,_)``). Any thread.
//
// On the channel's loop handlers may be called before it returns: see ``ChannelHandler``.
extension Channel {
    // MARK: Queued through the pipeline, and sent at the next flush

    /// Queues `buffer`.
    ///
    /// - Parameters:
    ///   - buffer: what is written.
    ///   - promise: who is told how it ended. Default: nobody.
    public func write(_ buffer: Buffer, promise: consuming WritePromise = .none) {
        put(buffer, promise.take(), flush: false)
    }

    /// Queues lent bytes, as ``ChannelContext/write(_:tag:)-(ReadBytes,_)`` does; for a channel of another loop they are kept
    /// as ``Buffer/init(_:)-(ReadBytes)`` does.
    ///
    /// - Parameters:
    ///   - bytes: what is written.
    ///   - promise: who is told how it ended. Default: nobody.
    public func write(_ bytes: ReadBytes, promise: consuming WritePromise = .none) {
        put(bytes, promise.take(), flush: false)
    }

    /// Queues a copy of `bytes`.
    ///
    /// - Parameters:
    ///   - bytes: what is written.
    ///   - promise: who is told how it ended. Default: nobody.
    public func write(_ bytes: RawSpan, promise: consuming WritePromise = .none) {
        put(bytes, promise.take(), flush: false)
    }

    /// Queues the UTF-8 bytes of `text`.
    ///
    /// - Parameters:
    ///   - text: what is written, as UTF-8.
    ///   - promise: who is told how it ended. Default: nobody.
    public func write(_ text: String, promise: consuming WritePromise = .none) {
        put(text, promise.take(), flush: false)
    }

    /// Queues a part of a file, which is never in memory as a whole.
    ///
    /// - Parameters:
    ///   - file: what is written.
    ///   - promise: who is told how it ended. Default: nobody.
    public func write(_ file: FileRegion, promise: consuming WritePromise = .none) {
        put(.file(file), promise.take(), flush: false)
    }

    /// Queues a message that a handler turns into bytes; if none does, `promise` fails with `.unencodableMessage`. On its way to the
    /// loop it counts as an entry without bytes: their number is not known yet.
    ///
    /// - Parameters:
    ///   - message: what is written.
    ///   - promise: who is told how it ended. Default: nobody.
    public func write(message: any Sendable, promise: consuming WritePromise = .none) {
        put(.message(message), promise.take(), flush: false)
    }

    /// Has everything queued so far sent at the end of the loop's turn. Any thread. On the channel's loop handlers may be called
    /// before it returns: see ``ChannelHandler``.
    public func flush() {
        if isOnLoop { flushFromTail() } else { eventLoop.post(ClosureWork { _ in self.flushFromTail() }) }
    }

    // MARK: Queued and sent

    /// ``write(_:promise:)-(Buffer,_)`` and ``flush()``.
    public func writeAndFlush(_ buffer: Buffer, promise: consuming WritePromise = .none) {
        put(buffer, promise.take(), flush: true)
    }

    /// ``write(_:promise:)-(ReadBytes,_)`` and ``flush()``.
    public func writeAndFlush(_ bytes: ReadBytes, promise: consuming WritePromise = .none) {
        put(bytes, promise.take(), flush: true)
    }

    /// ``write(_:promise:)-(RawSpan,_)`` and ``flush()``.
    public func writeAndFlush(_ bytes: RawSpan, promise: consuming WritePromise = .none) {
        put(bytes, promise.take(), flush: true)
    }

    /// ``write(_:promise:)-(String,_)`` and ``flush()``.
    public func writeAndFlush(_ text: String, promise: consuming WritePromise = .none) {
        put(text, promise.take(), flush: true)
    }

    /// ``write(_:promise:)-(FileRegion,_)`` and ``flush()``.
    public func writeAndFlush(_ file: FileRegion, promise: consuming WritePromise = .none) {
        put(.file(file), promise.take(), flush: true)
    }

    /// ``write(message:promise:)`` and ``flush()``.
    public func writeAndFlush(message: any Sendable, promise: consuming WritePromise = .none) {
        put(.message(message), promise.take(), flush: true)
    }

    /// Takes a write back. True when it had not been flushed: nothing of it will be sent, and it completes with
    /// `.cancelled`. The channel's loop only.
    @discardableResult
    public func cancel(_ handle: WriteHandle) -> Bool {
        eventLoop.requireOnLoop()
        return cancelQueued(handle)
    }

    // MARK: On the loop or on the way to it

    /// Not as ``WriteContent``: on the loop a write counts no reference.
    private func put(_ buffer: Buffer, _ completion: WriteCompletion, flush: Bool) {
        guard isOnLoop else { return post(.bytes(buffer), completion, flush: flush) }
        writeFromTail(buffer, completion)
        if flush { flushFromTail() }
    }

    private func put(_ content: WriteContent, _ completion: WriteCompletion, flush: Bool) {
        guard isOnLoop else { return post(content, completion, flush: flush) }
        writeFromTail(content, completion)
        if flush { flushFromTail() }
    }

    private func put(_ bytes: ReadBytes, _ completion: WriteCompletion, flush: Bool) {
        guard isOnLoop else { return post(.bytes(Buffer(bytes)), completion, flush: flush) }
        _ = write(lent: bytes, completion, from: own.last)
        if flush { flushFromTail() }
    }

    private func put(_ bytes: RawSpan, _ completion: WriteCompletion, flush: Bool) {
        bytes.withUnsafeBytes { put(copying: $0, completion, flush: flush) }
    }

    private func put(_ text: String, _ completion: WriteCompletion, flush: Bool) {
        var text = text
        text.withUTF8 { put(copying: UnsafeRawBufferPointer($0), completion, flush: flush) }
    }

    private func put(copying bytes: UnsafeRawBufferPointer, _ completion: WriteCompletion, flush: Bool) {
        guard isOnLoop else { return post(.bytes(Buffer(copying: bytes)), completion, flush: flush) }
        _ = write(copying: bytes, completion, from: own.last)
        if flush { flushFromTail() }
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
        case .file(let file): write(file, completion, from: own.last)
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
        let isTaken = start.callOutwards(.write) {
            $0.handler.write($0, ReadBytes(lending: buffer), promise: WritePromise(completion))
        }
        return isTaken ? passedOn(completion) : enqueue(buffer, completion)
    }

    @inline(__always)
    func write(
        lent bytes: ReadBytes, _ completion: WriteCompletion, from start: PipelineLink
    ) -> WriteHandle {
        let isTaken = start.callOutwards(.write) { $0.handler.write($0, bytes, promise: WritePromise(completion)) }
        return isTaken ? passedOn(completion) : enqueue(lent: bytes, completion)
    }

    func write(
        copying bytes: UnsafeRawBufferPointer, _ completion: WriteCompletion, from start: PipelineLink
    ) -> WriteHandle {
        let isTaken = start.callOutwards(.write) {
            $0.handler.write($0, ReadBytes(lending: bytes.bytes), promise: WritePromise(completion))
        }
        return isTaken ? passedOn(completion) : enqueueCopy(bytes, completion)
    }

    func write(
        _ file: FileRegion, _ completion: WriteCompletion, from start: PipelineLink
    ) -> WriteHandle {
        let isTaken = start.callOutwards(.write) {
            $0.handler.write($0, file, promise: WritePromise(completion))
        }
        return isTaken ? passedOn(completion) : enqueue(file, completion)
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
