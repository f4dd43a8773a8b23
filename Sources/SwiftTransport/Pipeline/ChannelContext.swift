internal import Synchronization

/// A handler's place in the pipeline of its channel: how it passes events on and how it writes.
///
/// Use it on the channel's loop only; the compiler lets it go nowhere else. To reach the channel from elsewhere, keep
/// ``channel``.
public final class ChannelContext {
    /// The channel.
    public let channel: Channel
    /// The handler at this place.
    public let handler: any ChannelHandler
    /// What is the loop's alone. One value, so that one promise covers it: no access to it spans a call into user code.
    @exclusivity(unchecked) var own: Own

    /// What the pipeline changes, which holds the references. Of a context that is removed the interests are empty, so that
    /// whatever still has it for a neighbour passes it by; its own links lead on until its turn is over.
    struct Own {
        var interests: ChannelEvents
        var place = Place.taken
        var next = PipelineLink.end
        var previous = PipelineLink.end
        /// What the handler has scheduled.
        var firstTimer: ContextTimer?
    }

    /// Whether the context has a place in the pipeline.
    enum Place: UInt8 {
        /// It has.
        case taken
        /// It had one earlier in this turn: the handler may be in the middle of a call.
        case left
        /// It has none, and no neighbours either.
        case gone
    }
    /// One for the pipeline, one for each write with a tag that is under way.
    private let holds = Atomic<Int32>(0)
    /// In the loop's ``IdleTable``; -1: nowhere. Beside the other, so that both together are a word.
    @exclusivity(unchecked) var idlePlace: Int32 = -1

    init(_ handler: any ChannelHandler, channel: Channel) {
        self.handler = handler
        self.channel = channel
        own = Own(interests: type(of: handler).interests)
        #if DEBUG
            UncalledMethods.look(at: type(of: handler))
        #endif
    }

    /// The channel's loop.
    public var eventLoop: EventLoop { channel.eventLoop }

    /// The address of this end, from ``ChannelHandler/channelActive(_:)`` on.
    ///
    /// The kernel is asked when it is wanted first, which costs a system call and an allocation; then it is known, in
    /// ``ChannelHandler/channelInactive(_:)`` too. `nil` before the channel is active, and when it was closed before anybody asked.
    public var localAddress: SocketAddress? { channel.knownLocalAddress }

    /// The address of the peer, as ``localAddress``. After a reset the kernel does not know it any more: who wants it for a log at the
    /// end asks at the beginning.
    public var remoteAddress: SocketAddress? { channel.knownRemoteAddress }

    // MARK: Staying alive

    /// For ``ContextReference``: how many holds there are now.
    @inline(__always)
    func changeHolds(by change: Int32) -> Int32 {
        guard channel.eventLoop.own.phase != .ended else {
            return holds.wrappingAdd(change, ordering: .acquiringAndReleasing).newValue
        }
        // While the loop runs there is one writer, which needs no lock prefix.
        let changed = holds.load(ordering: .relaxed) &+ change
        holds.store(changed, ordering: .relaxed)
        return changed
    }

    // MARK: Finding the next one

    /// Where what this handler sends outwards starts. Once it is gone: where what the channel itself sends does, because
    /// nothing may get past a handler that encrypts.
    @inline(__always)
    var outwards: PipelineLink { own.place == .gone ? channel.own.last : own.previous }

    // MARK: Events, towards the application

    /// Tells the handlers behind this one that the channel is connected.
    public func fireChannelActive() {
        own.next.call(.active) { $0.handler.channelActive($0) }
    }

    /// Passes bytes on to the handlers behind this one. Behind the last one they are dropped.
    public func fireChannelRead(_ bytes: ReadBytes) {
        own.next.call(.read) { $0.handler.channelRead($0, bytes) }
    }

    /// Passes on bytes that the handler kept or made. An empty buffer is delivered too: it may be a message of a protocol.
    public func fireChannelRead(_ buffer: Buffer) { fireChannelRead(ReadBytes(lending: buffer)) }

    /// Passes on bytes that the handler has in memory of its own, such as what it has decrypted: lent for the length of the call.
    /// Whoever keeps them copies them.
    public func fireChannelRead(_ bytes: RawSpan) { fireChannelRead(ReadBytes(lending: bytes)) }

    /// Tells the handlers behind this one that no more bytes come in this turn.
    public func fireChannelReadComplete() {
        own.next.call(.readComplete) { $0.handler.channelReadComplete($0) }
    }

    /// Tells the handlers behind this one that the channel's writability changed.
    public func fireChannelWritabilityChanged() {
        own.next.call(.writabilityChanged) { $0.handler.channelWritabilityChanged($0) }
    }

    /// Tells the handlers behind this one that the peer will send no more.
    public func fireInputClosed() {
        own.next.call(.inputClosed) { $0.handler.inputClosed($0) }
    }

    /// Tells the handlers behind this one of a failure, of the connection or of your own. Behind the last one it is dropped: a
    /// failure of the connection also closes the channel, and every write is told. The task of a ``Connection`` has it thrown by its
    /// next read, behind the bytes that came before: your own as `.handlerFailed` (``TransportError/underlying``).
    public func fireErrorCaught(_ error: any Error) {
        own.next.call(.error) { $0.handler.errorCaught($0, error) }
    }

    /// Sends an event of your own to the handlers behind this one.
    public func fireUserEvent(_ event: any Sendable) {
        own.next.call(.userEvent) { $0.handler.userEvent($0, event) }
    }

    /// Tells the handlers behind this one that a graceful shutdown has begun. Behind the last one it closes the channel.
    public func fireShutdownBegan() { channel.tellShutdown(from: own.place == .gone ? channel.own.first : own.next) }

    /// Tells the handlers behind this one that the channel is closed.
    public func fireChannelInactive() {
        own.next.call(.inactive) { $0.handler.channelInactive($0) }
    }

    // MARK: Other handlers

    /// Adds a handler to the pipeline. It may share state with this handler: both run on the channel's loop.
    ///
    /// One that is added behind sees the present event when this handler passes it on. Returns false, and adds nothing, when
    /// this handler has left the pipeline.
    @discardableResult
    public func add(_ handler: any ChannelHandler, _ place: HandlerPlace) -> Bool {
        assertOnLoop()
        return channel.pipeline.add(handler, place, of: self)
    }

    /// The context of the first handler of type `H` in the same pipeline; `nil` when there is none.
    public func context<H: ChannelHandler>(of type: H.Type) -> ChannelContext? {
        assertOnLoop()
        return channel.pipeline.context(of: type)
    }

    // MARK: Operations, towards the network; writing is in ChannelContext+Writing.swift

    /// Has everything queued so far sent at the end of this turn, in one system call with all the others. This handler may be
    /// called back before it returns: see ``ChannelHandler``.
    public func flush() {
        assertOnLoop()
        channel.flush(from: outwards)
    }

    /// Ends the output: see ``Channel/shutdownOutput(promise:)``. This handler may be called back before it returns: see
    /// ``ChannelHandler``.
    public func shutdownOutput(promise: consuming WritePromise = .none) {
        assertOnLoop()
        channel.shutdownOutput(promise.take(), from: outwards)
    }

    /// Closes the channel. Default: graceful. This handler may be called back before it returns: see ``ChannelHandler``.
    public func close(_ mode: CloseMode = .graceful) {
        assertOnLoop()
        channel.close(mode, from: outwards)
    }

    /// Debug builds only: a context is not Sendable, so the compiler has seen to it already.
    @inline(__always)
    func assertOnLoop() {
        assert(channel.isOnLoop, "a ChannelContext was used on another thread than its loop's: use its channel")
    }
}
