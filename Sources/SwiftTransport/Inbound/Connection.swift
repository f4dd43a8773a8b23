/// A channel as structured concurrency sees it: what comes in is a sequence, what goes out is awaited.
///
///     for try await bytes in connection.inbound {
///         try await connection.send(bytes)
///     }
///
/// Any task may use it. A task on the channel's own loop never changes threads, and suspends only when there is nothing
/// to read.
public struct Connection: Sendable {
    /// The channel beneath.
    public let channel: Channel
    let bridge: InboundBridge

    /// The bytes the peer sends, in pieces as they came (small ones that wait are joined), until it has finished sending. To
    /// be read by one task at a time.
    ///
    /// When what waits for the task holds 64 KiB of memory, the channel reads no more until half of it is gone: the peer is
    /// slowed down and memory stays bounded.
    public var inbound: InboundBytes { InboundBytes(connection: self) }

    /// The next piece of ``inbound``; `nil` when the peer has finished sending or the channel was closed at this end.
    ///
    ///     guard let greeting = try await connection.read(within: .seconds(5)) else { return }
    ///
    /// - Parameter limit: how long to wait for one, without a second task. A read whose time is over loses nothing: what comes
    ///   later is the next reader's, and the connection is none the worse. Default: no limit.
    /// - Throws: `.timedOut` when the time is over, else as ``InboundBytes/AsyncIterator/next()``.
    public func read(within limit: Duration? = nil) async throws(TransportError) -> Buffer? {
        let loop = channel.eventLoop
        if loop.isCurrent, let ready = bridge.takeReady() { return try ready.get() }
        let wait = InboundWait(bridge, on: loop, within: limit)
        let outcome = await withTaskCancellationHandler {
            await withUnsafeContinuation { wait.start($0) }
        } onCancel: {
            wait.cancel()
        }
        return try outcome.get()
    }

    /// True once a graceful shutdown of the server or its group has begun (``EventLoopGroup/shutdown(within:)``). Finish what
    /// is under way and return: what is not done at the deadline is cut off with a reset. Any thread.
    ///
    /// A task that waits for input at that moment has nothing under way: its read throws `.shuttingDown`, and so does every
    /// later one once what has been received is used up.
    public var isShuttingDown: Bool { bridge.isShuttingDown }

    // MARK: Sending, as Channel does it

    /// Sends `buffer` and returns when the kernel has accepted all of it: ``Channel/send(_:flush:)-(Buffer,_)``. That is not yet
    /// the peer's word. Awaiting is the back pressure; for writes that nobody awaits there is ``channel``.
    ///
    /// - Parameters:
    ///   - buffer: what is written.
    ///   - flush: false leaves the flush to a later write.
    /// - Throws: `.closed` with the first cause, `.cancelled`, `.outputShutDown`, `.loopShutDown`.
    public func send(_ buffer: Buffer, flush: Bool = true) async throws(TransportError) {
        try await channel.send(buffer, flush: flush)
    }

    /// The same for a copy of `bytes`.
    public func send(_ bytes: RawSpan, flush: Bool = true) async throws(TransportError) {
        try await channel.send(bytes, flush: flush)
    }

    /// The same for the UTF-8 bytes of `text`.
    public func send(_ text: String, flush: Bool = true) async throws(TransportError) {
        try await channel.send(text, flush: flush)
    }

    /// The same for a part of a file, which is never in memory as a whole.
    ///
    /// - Throws: also what reading the file said.
    public func send(_ file: FileRegion, flush: Bool = true) async throws(TransportError) {
        try await channel.send(file, flush: flush)
    }

    /// The same for a message that a handler turns into bytes.
    ///
    /// - Throws: also `.unencodableMessage` when no handler does, `.promiseDropped` when one took it and forgot it.
    public func send(message: any Sendable, flush: Bool = true) async throws(TransportError) {
        try await channel.send(message: message, flush: flush)
    }

    /// Closes the channel and returns when it is closed. Default: graceful.
    public func close(_ mode: CloseMode = .graceful) async {
        channel.close(mode)
        await channel.closed()
    }
}

/// The bytes that come in on a ``Connection``.
public struct InboundBytes: AsyncSequence, Sendable {
    /// A piece, as it came.
    public typealias Element = Buffer
    /// What broke the connection.
    public typealias Failure = TransportError

    let connection: Connection

    /// Begins reading where the last reader stopped.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(connection: connection) }

    /// Reads piece after piece.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let connection: Connection

        /// The next piece; `nil` when the peer has finished sending or the channel was closed at this end.
        ///
        /// - Throws: what broke the connection, `.cancelled` when the task was cancelled while it waited, `.shuttingDown` when
        ///   a graceful shutdown has begun, `.loopShutDown` when the loop has ended (what was received comes first),
        ///   `.alreadyReading` when another task waits for bytes of this connection.
        public mutating func next() async throws(TransportError) -> Buffer? {
            try await connection.read()
        }
    }
}
