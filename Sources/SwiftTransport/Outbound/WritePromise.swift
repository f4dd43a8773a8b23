/// Who is to be told how a write ended. Told exactly once, whatever happens to it.
///
/// A promise belongs to one write and cannot be copied. A handler that takes a write over hands the promise to the write
/// that carries the bytes, or completes it. If it does neither and lets the promise go, the write has failed with
/// `.promiseDropped`: nobody waits for ever.
///
///     func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
///         guard let sealed = seal(bytes) else { return promise.complete(TransportError(.unencodableMessage)) }
///         context.write(sealed, promise: promise)
///     }
///
/// It may be handed to another channel, also one of another loop: whoever waits is told all the same, a handler always on
/// its own loop.
public struct WritePromise: ~Copyable {
    private var completion: WriteCompletion

    init(_ completion: WriteCompletion) { self.completion = completion }

    deinit { completion.complete(TransportError(.promiseDropped)) }

    /// Nobody. The cheapest: nothing is stored and nothing is called.
    public static var none: WritePromise { WritePromise(.none) }

    /// A closure, called once on the loop of the channel that carried the write: `nil` means that the kernel has accepted all
    /// bytes. Told of a refusal it may be called at once, on the thread that writes: when the loop has ended, has no memory for the
    /// message, or is so far behind that there is no room on the way to it (``LoopOptions/outboundBudget``).
    ///
    /// - Parameters:
    ///   - progress: called, before `body`, each time the kernel took a part of the write but not all of it.
    ///   - body: told how the write ended.
    public static func callback(
        progress: (@Sendable (WriteProgress) -> Void)? = nil, _ body: @escaping @Sendable (WriteResult) -> Void
    ) -> WritePromise {
        WritePromise(.closure(body, progress: progress))
    }

    /// The channel itself: it closes at once when the write fails. For heartbeats.
    public static func closeOnFailure(_ channel: Channel) -> WritePromise {
        WritePromise(.closeOnFailure(channel))
    }

    /// The handler of `context`: ``ChannelHandler/writeCompleted(_:tag:result:)`` is called with `tag`, and with
    /// `progress` also ``ChannelHandler/writeProgressed(_:tag:progress:)``, always on the loop of `context`, whichever channel
    /// carries the write. Allocates nothing, unless that is a channel of another loop.
    public static func handler(_ context: ChannelContext, tag: UInt64, progress: Bool = false) -> WritePromise {
        WritePromise(.handler(context, tag: tag, progress: progress))
    }

    /// True when nobody waits.
    public var isNone: Bool { completion.isNone }

    /// Ends the write without sending it: who waits is told `result`, at once.
    public consuming func complete(_ result: WriteResult) {
        take().complete(result)
    }

    /// Has whoever waits for `other` told together with, and behind, whoever waits for this one. For handlers that make
    /// one write of several. Progress is no longer reported: of which write would it be?
    ///
    ///     func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
    ///         batch.append(Buffer(bytes))
    ///         batchPromise.join(promise)
    ///     }
    public mutating func join(_ other: consuming WritePromise) {
        completion = completion.joined(with: other.take())
    }

    /// What is inside. Whoever takes it must complete it.
    consuming func take() -> WriteCompletion {
        let completion = completion
        discard self
        return completion
    }
}

/// How far a write has come.
public struct WriteProgress: Sendable, Hashable {
    /// Bytes of the write that the kernel has accepted so far.
    public let written: Int
    /// Bytes of the write in all.
    public let total: Int
}
