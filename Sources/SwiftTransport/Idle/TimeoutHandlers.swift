/// Ends a channel whose peer says nothing for too long: ``ChannelHandler/errorCaught(_:_:)`` with `.timedOut` of a read, then the close. A
/// task that reads the connection throws it.
///
///     .childHandlers { [ReadTimeoutHandler(.seconds(70))] }.serve { connection in ... }
///
/// It does not run while nobody here wants bytes: see ``IdleLimits/reader``. What this end sends does not postpone it.
public final class ReadTimeoutHandler: ChannelHandler {
    /// None: it is asked for by its place alone.
    public static let interests: ChannelEvents = []

    private let limit: Duration

    /// - Parameter limit: how long no byte may come in. Not above zero: no limit.
    public init(_ limit: Duration) { self.limit = limit }

    /// Begins to watch.
    public func handlerAdded(_ context: ChannelContext) { context.setIdleLimits(IdleLimits(reader: limit)) }

    /// The time is over.
    public func channelIdle(_ context: ChannelContext, _ event: IdleStateEvent) {
        context.channel.failForSilence(.receive, "nothing came from %@ for \(limit)")
    }
}

/// Ends a channel whose peer takes nothing for too long although there is something for it: ``ChannelHandler/errorCaught(_:_:)`` with
/// `.timedOut` of a write, then a reset.
///
/// What counts is that no byte leaves, and not how old a write is: a large transfer to a slow reader takes as long as it takes. What is
/// written and not flushed is not the peer's fault.
public final class WriteTimeoutHandler: ChannelHandler {
    /// None: it is asked for by its place alone.
    public static let interests: ChannelEvents = []

    private let limit: Duration

    /// - Parameter limit: how long the kernel may take no byte of what is flushed. Not above zero: no limit.
    public init(_ limit: Duration) { self.limit = limit }

    /// Begins to watch.
    public func handlerAdded(_ context: ChannelContext) { context.setIdleLimits(IdleLimits(writer: limit)) }

    /// The time is over, for somebody who has something to send.
    public func channelIdle(_ context: ChannelContext, _ event: IdleStateEvent) {
        guard context.channel.hasFlushedBytes else { return }
        context.channel.failForSilence(.send, "%@ took nothing for \(limit)")
    }
}

extension Channel {
    /// Something is flushed that the kernel has not taken. The channel's loop.
    var hasFlushedBytes: Bool { own.queue?.hasFlushed ?? false }

    /// - Parameter text: what has not happened, with `%@` for the peer.
    func failForSilence(_ call: SystemCall, _ text: String) {
        let peer = knownRemoteAddress?.description ?? "the peer"
        let words = text.split(separator: "%@", omittingEmptySubsequences: false)
        fail(TransportError(.timedOut, call: call, subject: words.joined(separator: peer)))
    }
}
