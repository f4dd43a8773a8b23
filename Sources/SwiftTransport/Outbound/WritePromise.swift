/// Who is to be told how a write ended.
///
/// A promise belongs to one write. A handler that takes a write over hands the promise to the write that carries the
/// bytes, or completes it; if it does neither, nobody is ever told.
public struct WritePromise {
    let completion: WriteCompletion

    /// Nobody. The cheapest: nothing is stored and nothing is called.
    public static var none: WritePromise { WritePromise(completion: .none) }

    /// A closure, called once on the channel's loop: `nil` means that the kernel has accepted all bytes.
    ///
    /// - Parameter progress: called, before `body`, each time the kernel took a part of the write but not all of it.
    public static func callback(
        progress: (@Sendable (WriteProgress) -> Void)? = nil, _ body: @escaping @Sendable (WriteResult) -> Void
    ) -> WritePromise {
        WritePromise(completion: .closure(body, progress: progress))
    }

    /// The channel itself: it closes at once when the write fails. For heartbeats.
    public static func closeOnFailure(_ channel: Channel) -> WritePromise {
        WritePromise(completion: .closeOnFailure(channel))
    }

    /// The handler of `context`: ``ChannelHandler/writeCompleted(_:tag:result:)`` is called with `tag`, and with
    /// `progress` also ``ChannelHandler/writeProgressed(_:tag:progress:)``. Allocates nothing.
    public static func handler(_ context: ChannelContext, tag: UInt64, progress: Bool = false) -> WritePromise {
        WritePromise(completion: .handler(context, tag: tag, progress: progress))
    }

    /// True when nobody waits.
    public var isNone: Bool { completion.kind == .none }

    /// Ends the write without sending it. Exactly once, and not if the promise was handed on.
    public func complete(_ result: WriteResult) { completion.complete(result) }
}

/// How far a write has come.
public struct WriteProgress: Sendable, Hashable {
    /// Bytes of the write that the kernel has accepted so far.
    public let written: Int
    /// Bytes of the write in all.
    public let total: Int
}

/// Names a write that may still be cancelled. Eight bytes; a handle of a write that is over does nothing.
public struct WriteHandle: Sendable, Hashable {
    let sequence: UInt64

    /// The handle of a write that never was queued, or that another handler took over.
    static let stale = WriteHandle(sequence: .max)
}
