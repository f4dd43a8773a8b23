/// What an application or a protocol does with a channel: a link of the channel's pipeline.
///
/// Events travel from the first handler to the last, operations (write, flush, the end of the output, close) from the last to the first. Each
/// method has a default that passes on. All are called on the channel's loop and must not block. A handler belongs to
/// one channel, unless it keeps no state.
///
///     final class Echo: ChannelHandler {
///         static let interests: ChannelEvents = [.read, .readComplete]
///         func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.write(bytes) }
///         func channelReadComplete(_ context: ChannelContext) { context.flush() }
///     }
///
/// ## Called back at once
///
/// What a handler does with its context or channel takes effect before the call returns, and whoever it concerns is called at
/// once, the handler itself included: a write that crosses the high mark calls its ``channelWritabilityChanged(_:)``, one that is
/// refused its ``writeCompleted(_:tag:result:)``, and so does a close for what it drops. So no property that such a callback
/// uses may be under change meanwhile: a write from a `mutating` method of a struct the handler keeps, or from within
/// `withUnsafeMutableBytes` of its array, stops the program with "Simultaneous accesses" when the callback gets to the same
/// struct or array. Let the method return what is to be written, and write it then.
///
///     mutating func encode(_ reply: Reply) -> Buffer          // not: encode(reply, to: context)
///     context.write(encoder.encode(reply))
public protocol ChannelHandler: AnyObject, SendableMetatype {
    /// What the handler wants to see; default ``ChannelEvents/all``. Naming only what it implements makes everything
    /// else pass it by. Events it does not name are not delivered to it.
    static var interests: ChannelEvents { get }

    /// The handler is now part of the pipeline; called before any event.
    func handlerAdded(_ context: ChannelContext)
    /// The handler is no longer part of the pipeline; called once, after the last event. Only completions of its own writes
    /// may still come.
    func handlerRemoved(_ context: ChannelContext)

    /// The channel is connected.
    func channelActive(_ context: ChannelContext)
    /// Bytes came. They are lent: see ``ReadBytes``.
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes)
    /// No more bytes in this turn of the loop: the moment to flush.
    func channelReadComplete(_ context: ChannelContext)
    /// ``Channel/isWritable`` has changed.
    func channelWritabilityChanged(_ context: ChannelContext)
    /// The peer will send no more. Unless half closure is allowed the channel now sends what is queued and closes.
    func inputClosed(_ context: ChannelContext)
    /// Something failed. If it was the connection, the error is a ``TransportError`` and ``channelInactive(_:)`` follows; errors of
    /// your own come from a handler before this one: see ``ChannelContext/fireErrorCaught(_:)``.
    func errorCaught(_ context: ChannelContext, _ error: any Error)
    /// A handler before this one has something to say: see ``ChannelContext/fireUserEvent(_:)``.
    func userEvent(_ context: ChannelContext, _ event: any Sendable)
    /// A graceful shutdown has begun. A handler with nothing under way passes it on: behind the last handler the channel
    /// closes, once what is queued has been sent. One that has work under way keeps it, finishes, and closes the channel
    /// itself (``ChannelContext/close(_:)``); at the deadline whatever is left is cut off with a reset.
    func shutdownBegan(_ context: ChannelContext)
    /// The channel is closed. No event follows.
    func channelInactive(_ context: ChannelContext)
    /// Nothing has happened for as long as the limits of this handler say, which it has set with
    /// ``ChannelContext/setIdleLimits(_:)``. Needs no interest.
    func channelIdle(_ context: ChannelContext, _ event: IdleStateEvent)

    /// A write on its way to the network, whether of a buffer, lent bytes, a span or a text. The bytes are lent: pass them on, write
    /// others in their place, or keep them with ``Buffer/init(_:)-(ReadBytes)``, which copies nothing of what is a ``Buffer`` already. Nothing is
    /// allocated for a handler that only looks.
    ///
    /// The promise goes with the bytes: hand it on to their write, join it with that of others, or complete it. See
    /// ``WritePromise``.
    func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise)
    /// A part of a file on its way to the network. A handler that changes bytes must not let it pass: it writes what
    /// ``FileRegion/contents(_:)`` gives it, piece by piece, or completes `promise` with an error. Needs an interest in
    /// ``ChannelEvents/write`` as the other two do.
    func write(_ context: ChannelContext, _ file: FileRegion, promise: consuming WritePromise)
    /// A message on its way to the network that is not bytes yet. A handler that knows its type turns it into bytes, and
    /// hands `promise` to their write; whoever does not passes it on. At the head of the pipeline it fails.
    func write(_ context: ChannelContext, message: any Sendable, promise: consuming WritePromise)
    /// A flush on its way to the network.
    func flush(_ context: ChannelContext)
    /// The end of the output on its way to the network. A handler with something to send before the end writes it, flushes, and
    /// passes it on with the promise, which is told when the peer gets the end of stream.
    func shutdownOutput(_ context: ChannelContext, promise: consuming WritePromise)
    /// A close on its way to the network.
    func close(_ context: ChannelContext, _ mode: CloseMode)

    /// A write of this handler with a tag is over: see ``ChannelContext/write(_:tag:)-(Buffer,_)``.
    /// Called in the order of the writes; may write, flush and close.
    func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult)
    /// The kernel has taken a part of a write that asked for it: see ``WritePromise/handler(_:tag:progress:)``.
    func writeProgressed(_ context: ChannelContext, tag: UInt64, progress: WriteProgress)
}

extension ChannelHandler {
    /// Everything.
    public static var interests: ChannelEvents { .all }
    /// Does nothing.
    public func handlerAdded(_ context: ChannelContext) {}
    /// Does nothing.
    public func handlerRemoved(_ context: ChannelContext) {}
    /// Passes on.
    public func channelActive(_ context: ChannelContext) { context.fireChannelActive() }
    /// Passes on.
    public func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.fireChannelRead(bytes) }
    /// Passes on.
    public func channelReadComplete(_ context: ChannelContext) { context.fireChannelReadComplete() }
    /// Passes on.
    public func channelWritabilityChanged(_ context: ChannelContext) { context.fireChannelWritabilityChanged() }
    /// Passes on.
    public func inputClosed(_ context: ChannelContext) { context.fireInputClosed() }
    /// Passes on.
    public func errorCaught(_ context: ChannelContext, _ error: any Error) { context.fireErrorCaught(error) }
    /// Passes on.
    public func userEvent(_ context: ChannelContext, _ event: any Sendable) { context.fireUserEvent(event) }
    /// Passes on.
    public func shutdownBegan(_ context: ChannelContext) { context.fireShutdownBegan() }
    /// Passes on.
    public func channelInactive(_ context: ChannelContext) { context.fireChannelInactive() }
    /// Tells the handlers behind this one, as a user event.
    public func channelIdle(_ context: ChannelContext, _ event: IdleStateEvent) { context.fireUserEvent(event) }
    /// Passes on.
    public func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
        context.write(bytes, promise: promise)
    }
    /// Passes on.
    public func write(_ context: ChannelContext, _ file: FileRegion, promise: consuming WritePromise) {
        context.write(file, promise: promise)
    }
    /// Passes on.
    public func write(_ context: ChannelContext, message: any Sendable, promise: consuming WritePromise) {
        context.write(message: message, promise: promise)
    }
    /// Passes on.
    public func flush(_ context: ChannelContext) { context.flush() }
    /// Passes on.
    public func shutdownOutput(_ context: ChannelContext, promise: consuming WritePromise) {
        context.shutdownOutput(promise: promise)
    }
    /// Passes on.
    public func close(_ context: ChannelContext, _ mode: CloseMode) { context.close(mode) }
    /// Does nothing.
    public func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) {}
    /// Does nothing.
    public func writeProgressed(_ context: ChannelContext, tag: UInt64, progress: WriteProgress) {}
}
