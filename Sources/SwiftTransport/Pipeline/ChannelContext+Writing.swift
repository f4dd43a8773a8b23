// Writing, as handlers do it. Six kinds of content, the same for all: a buffer, lent bytes, a span, a text, a part of a file, a
// message; with a tag, with a promise, or with nobody to be told; and all of that with a flush.
//
// A write passes the handlers before this one that have an interest in ``ChannelEvents/write`` and goes to the queue of its
// channel. Who writes may be called back before it returns: see ``ChannelHandler``.
extension ChannelContext {
    // MARK: Queued, and sent at the next flush

    /// Queues a buffer, without a copy unless it is small.
    ///
    /// - Parameters:
    ///   - buffer: what is written.
    ///   - tag: what ``ChannelHandler/writeCompleted(_:tag:result:)`` of this handler is called with when the write is
    ///     over; allocates nothing. Default `nil`: nobody is told.
    /// - Returns: a handle for ``Channel/cancel(_:)``, good until the write is flushed; stale when a handler took it over.
    @discardableResult
    public func write(_ buffer: Buffer, tag: UInt64? = nil) -> WriteHandle { put(buffer, completion(tag)) }

    /// Queues a buffer and has whoever `promise` stands for told when the write is over.
    @discardableResult
    public func write(_ buffer: Buffer, promise: consuming WritePromise) -> WriteHandle {
        put(buffer, promise.take())
    }

    /// Queues lent bytes. Pieces from ``LoopOptions/shareThreshold`` on are sent from the receive memory itself, smaller ones are
    /// copied behind each other.
    ///
    /// - Parameters:
    ///   - bytes: what is written.
    ///   - tag: what ``ChannelHandler/writeCompleted(_:tag:result:)`` of this handler is called with when the write is
    ///     over; allocates nothing. Default `nil`: nobody is told.
    /// - Returns: a handle for ``Channel/cancel(_:)``, good until the write is flushed; stale when a handler took it over.
    @discardableResult
    public func write(_ bytes: ReadBytes, tag: UInt64? = nil) -> WriteHandle { put(bytes, completion(tag)) }

    /// Queues lent bytes and has whoever `promise` stands for told when the write is over.
    @discardableResult
    public func write(_ bytes: ReadBytes, promise: consuming WritePromise) -> WriteHandle {
        put(bytes, promise.take())
    }

    /// Queues a copy of `bytes`.
    ///
    /// The span of a property of the handler's own is refused by the compiler, because whoever is called back could change the
    /// property meanwhile; that of a constant is not, and nothing is copied for it:
    ///
    ///     let output = output
    ///     context.write(output.span.bytes)
    ///
    /// - Parameters:
    ///   - bytes: what is written.
    ///   - tag: what ``ChannelHandler/writeCompleted(_:tag:result:)`` of this handler is called with when the write is
    ///     over; allocates nothing. Default `nil`: nobody is told.
    /// - Returns: a handle for ``Channel/cancel(_:)``, good until the write is flushed; stale when a handler took it over.
    @discardableResult
    public func write(_ bytes: RawSpan, tag: UInt64? = nil) -> WriteHandle { put(bytes, completion(tag)) }

    /// Queues a copy of `bytes` and has whoever `promise` stands for told when the write is over.
    @discardableResult
    public func write(_ bytes: RawSpan, promise: consuming WritePromise) -> WriteHandle {
        put(bytes, promise.take())
    }

    /// Queues the UTF-8 bytes of `text`.
    ///
    /// - Parameters:
    ///   - text: what is written, as UTF-8.
    ///   - tag: what ``ChannelHandler/writeCompleted(_:tag:result:)`` of this handler is called with when the write is
    ///     over; allocates nothing. Default `nil`: nobody is told.
    /// - Returns: a handle for ``Channel/cancel(_:)``, good until the write is flushed; stale when a handler took it over.
    @discardableResult
    public func write(_ text: String, tag: UInt64? = nil) -> WriteHandle { put(text, completion(tag)) }

    /// Queues the UTF-8 bytes of `text` and has whoever `promise` stands for told when the write is over.
    @discardableResult
    public func write(_ text: String, promise: consuming WritePromise) -> WriteHandle {
        put(text, promise.take())
    }

    /// Queues a part of a file, which is never in memory as a whole.
    ///
    /// - Parameters:
    ///   - file: what is written.
    ///   - tag: what ``ChannelHandler/writeCompleted(_:tag:result:)`` of this handler is called with when the write is
    ///     over; allocates nothing. Default `nil`: nobody is told.
    /// - Returns: a handle for ``Channel/cancel(_:)``, good until the write is flushed; stale when a handler took it over.
    @discardableResult
    public func write(_ file: FileRegion, tag: UInt64? = nil) -> WriteHandle { put(file, completion(tag)) }

    /// Queues a part of a file and has whoever `promise` stands for told when the write is over.
    @discardableResult
    public func write(_ file: FileRegion, promise: consuming WritePromise) -> WriteHandle {
        put(file, promise.take())
    }

    /// Queues a message that a handler before this one turns into bytes. If none does, it fails with `.unencodableMessage`.
    ///
    /// - Parameters:
    ///   - message: what is written.
    ///   - tag: what ``ChannelHandler/writeCompleted(_:tag:result:)`` of this handler is called with when the write is
    ///     over; allocates nothing. Default `nil`: nobody is told.
    /// - Returns: a handle for ``Channel/cancel(_:)``, good until the write is flushed; stale when a handler took it over.
    @discardableResult
    public func write(message: any Sendable, tag: UInt64? = nil) -> WriteHandle {
        put(message: message, completion(tag))
    }

    /// Queues a message that a handler before this one turns into bytes and has whoever `promise` stands for told when the write is over.
    @discardableResult
    public func write(message: any Sendable, promise: consuming WritePromise) -> WriteHandle {
        put(message: message, promise.take())
    }

    // MARK: Queued and sent at the end of this turn

    /// ``write(_:tag:)-(Buffer,_)`` and ``flush()``.
    @discardableResult
    public func writeAndFlush(_ buffer: Buffer, tag: UInt64? = nil) -> WriteHandle {
        flushing(put(buffer, completion(tag)))
    }

    /// ``write(_:promise:)-(Buffer,_)`` and ``flush()``.
    @discardableResult
    public func writeAndFlush(_ buffer: Buffer, promise: consuming WritePromise) -> WriteHandle {
        flushing(put(buffer, promise.take()))
    }

    /// ``write(_:tag:)-(ReadBytes,_)`` and ``flush()``.
    @discardableResult
    public func writeAndFlush(_ bytes: ReadBytes, tag: UInt64? = nil) -> WriteHandle {
        flushing(put(bytes, completion(tag)))
    }

    /// ``write(_:promise:)-(ReadBytes,_)`` and ``flush()``.
    @discardableResult
    public func writeAndFlush(_ bytes: ReadBytes, promise: consuming WritePromise) -> WriteHandle {
        flushing(put(bytes, promise.take()))
    }

    /// ``write(_:tag:)-(RawSpan,_)`` and ``flush()``.
    @discardableResult
    public func writeAndFlush(_ bytes: RawSpan, tag: UInt64? = nil) -> WriteHandle {
        flushing(put(bytes, completion(tag)))
    }

    /// ``write(_:promise:)-(RawSpan,_)`` and ``flush()``.
    @discardableResult
    public func writeAndFlush(_ bytes: RawSpan, promise: consuming WritePromise) -> WriteHandle {
        flushing(put(bytes, promise.take()))
    }

    /// ``write(_:tag:)-(String,_)`` and ``flush()``.
    @discardableResult
    public func writeAndFlush(_ text: String, tag: UInt64? = nil) -> WriteHandle {
        flushing(put(text, completion(tag)))
    }

    /// ``write(_:promise:)-(String,_)`` and ``flush()``.
    @discardableResult
    public func writeAndFlush(_ text: String, promise: consuming WritePromise) -> WriteHandle {
        flushing(put(text, promise.take()))
    }

    /// ``write(_:tag:)-(FileRegion,_)`` and ``flush()``.
    @discardableResult
    public func writeAndFlush(_ file: FileRegion, tag: UInt64? = nil) -> WriteHandle {
        flushing(put(file, completion(tag)))
    }

    /// ``write(_:promise:)-(FileRegion,_)`` and ``flush()``.
    @discardableResult
    public func writeAndFlush(_ file: FileRegion, promise: consuming WritePromise) -> WriteHandle {
        flushing(put(file, promise.take()))
    }

    /// ``write(message:tag:)`` and ``flush()``.
    @discardableResult
    public func writeAndFlush(message: any Sendable, tag: UInt64? = nil) -> WriteHandle {
        flushing(put(message: message, completion(tag)))
    }

    /// ``write(message:promise:)`` and ``flush()``.
    @discardableResult
    public func writeAndFlush(message: any Sendable, promise: consuming WritePromise) -> WriteHandle {
        flushing(put(message: message, promise.take()))
    }

    // MARK: How

    @inline(__always)
    private func completion(_ tag: UInt64?) -> WriteCompletion {
        if let tag { .writer(self, tag: tag) } else { .none }
    }

    @inline(__always)
    private func flushing(_ handle: WriteHandle) -> WriteHandle {
        flush()
        return handle
    }

    @inline(__always)
    private func put(_ buffer: Buffer, _ completion: WriteCompletion) -> WriteHandle {
        assertOnLoop()
        return channel.write(buffer, completion, from: outwards)
    }

    @inline(__always)
    private func put(_ bytes: ReadBytes, _ completion: WriteCompletion) -> WriteHandle {
        assertOnLoop()
        return channel.write(lent: bytes, completion, from: outwards)
    }

    private func put(_ bytes: RawSpan, _ completion: WriteCompletion) -> WriteHandle {
        assertOnLoop()
        return bytes.withUnsafeBytes { channel.write(copying: $0, completion, from: outwards) }
    }

    private func put(_ text: String, _ completion: WriteCompletion) -> WriteHandle {
        assertOnLoop()
        var text = text
        return text.withUTF8 { channel.write(copying: UnsafeRawBufferPointer($0), completion, from: outwards) }
    }

    private func put(_ file: FileRegion, _ completion: WriteCompletion) -> WriteHandle {
        assertOnLoop()
        return channel.write(file, completion, from: outwards)
    }

    private func put(message: any Sendable, _ completion: WriteCompletion) -> WriteHandle {
        assertOnLoop()
        return channel.write(message: message, completion, from: outwards)
    }
}
