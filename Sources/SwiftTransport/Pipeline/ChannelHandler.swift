/// What an application or a protocol does with a channel: a link of the channel's pipeline.
///
/// Events travel from the first handler to the last, operations (write, flush, close) from the last to the first. Each
/// method has a default that passes on. All are called on the channel's loop and must not block. A handler belongs to
/// one channel, unless it keeps no state.
///
///     final class Echo: ChannelHandler {
///         static let interests: ChannelEvents = [.read, .readComplete]
///         func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.write(bytes) }
///         func channelReadComplete(_ context: ChannelContext) { context.flush() }
///     }
public protocol ChannelHandler: AnyObject {
    /// What the handler wants to see; default ``ChannelEvents/all``. Naming only what it implements makes everything
    /// else pass it by. Events it does not name are not delivered to it.
    static var interests: ChannelEvents { get }

    /// The handler is now part of the pipeline; called before any event.
    func handlerAdded(_ context: ChannelContext)
    /// The handler is no longer part of the pipeline; called once, after the last event.
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
    /// Something failed. If it was the connection, ``channelInactive(_:)`` follows.
    func errorCaught(_ context: ChannelContext, _ error: TransportError)
    /// A handler before this one has something to say: see ``ChannelContext/fireUserEvent(_:)``.
    func userEvent(_ context: ChannelContext, _ event: any Sendable)
    /// The channel is closed. No event follows.
    func channelInactive(_ context: ChannelContext)

    /// A write on its way to the network.
    func write(_ context: ChannelContext, _ buffer: Buffer, _ promise: WritePromise)
    /// A flush on its way to the network.
    func flush(_ context: ChannelContext)
    /// A close on its way to the network.
    func close(_ context: ChannelContext, _ mode: CloseMode)

    /// A write of this handler with a tag is over: see ``ChannelContext/write(_:tag:)-(Buffer,_)``.
    /// Called in the order of the writes; may write, flush and close.
    func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult)
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
    public func errorCaught(_ context: ChannelContext, _ error: TransportError) { context.fireErrorCaught(error) }
    /// Passes on.
    public func userEvent(_ context: ChannelContext, _ event: any Sendable) { context.fireUserEvent(event) }
    /// Passes on.
    public func channelInactive(_ context: ChannelContext) { context.fireChannelInactive() }
    /// Passes on.
    public func write(_ context: ChannelContext, _ buffer: Buffer, _ promise: WritePromise) {
        context.write(buffer, promise: promise)
    }
    /// Passes on.
    public func flush(_ context: ChannelContext) { context.flush() }
    /// Passes on.
    public func close(_ context: ChannelContext, _ mode: CloseMode) { context.close(mode) }
    /// Does nothing.
    public func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) {}
}

/// How a channel ends. Always a choice, because each of them loses something else.
public enum CloseMode: Sendable, Hashable {
    /// Sends what is queued and the end of stream, then waits for the peer's end of stream, dropping what still comes in:
    /// a close with unread bytes would reset the connection and could destroy what the peer has not read yet. What is
    /// not done when the time is over is cut off.
    case drain(within: Duration)
    /// Queued writes fail with `.closed`; what the kernel has accepted is still delivered, then the end of stream.
    case immediate
    /// Queued writes fail, what the kernel has not sent is dropped, and the peer sees a reset (SO_LINGER 0).
    case reset

    /// Drains for at most five seconds.
    public static let graceful = CloseMode.drain(within: .seconds(5))
}

/// Who is to be told how a write ended, on its way through the pipeline. A handler that takes a write over hands it to
/// the write that carries the bytes, or completes it; if it does neither, nobody is ever told.
public struct WritePromise {
    let completion: WriteCompletion

    /// Nobody.
    public static var none: WritePromise { WritePromise(completion: .none) }

    /// True when nobody waits.
    public var isNone: Bool { completion.kind == .none }

    /// Ends the write without sending it. Exactly once, and not if the promise was handed on.
    public func complete(_ result: WriteResult) { completion.complete(result) }
}
