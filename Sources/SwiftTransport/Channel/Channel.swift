internal import CTransport
internal import Synchronization

/// A connection.
///
/// A handle that is cheap to copy and safe to use from any thread: on the channel's own loop an operation happens at
/// once, from elsewhere it travels to the loop and keeps its order. What handlers do goes through ``ChannelContext``.
///
///     channel.writeAndFlush(Buffer("ping\n"))         // any thread, returns at once
///     try await channel.send(Buffer("ping\n"))        // returns when the kernel has accepted it
///     channel.close()
///     await channel.closed()
public final class Channel: Endpoint, @unchecked Sendable {
    /// The loop on whose thread everything of this channel happens. Any thread may ask.
    public let eventLoop: EventLoop
    /// The loop as its thread knows it: to compare with, without counting a reference to it.
    private let loopContext: UnsafeMutableRawPointer
    let configuration: ChannelConfiguration

    // Seen by every thread. `levels` is written by the loop alone, with plain stores.
    let remotePending = Atomic<Int>(0)
    /// Another thread may have seen the channel unwritable for what is on its way to the loop.
    let isAheadOfLoop = Atomic<Bool>(false)
    /// A write of another thread that nobody waits for was refused on its way: the channel ends.
    let hasMissedWrite = Atomic<Bool>(false)
    let levels: ChannelLevels

    /// What is the loop's alone. One value, so that one promise covers it: no access to it spans a call into user code.
    @exclusivity(unchecked) var own = Own()

    /// What only the loop's thread looks at and changes.
    struct Own {
        var slot: UnsafeMutablePointer<ct_slot>?
        var lifecycle = ChannelLifecycle()
        var reading = Reading()
        var writing = Writing()
        /// The ends of the pipeline.
        var first = PipelineLink.end
        var last = PipelineLink.end
        var queue: OutboundQueue?
        /// What the next write is called.
        var nextHandle = WriteHandle.first()
        var held: HeldInput?
        var zeroCopy: ZeroCopySender?
        var ending: ChannelEnding?
        var waiting: WaitingWrites?
        /// Made when somebody asks for an address.
        var addresses: ChannelAddresses?
        /// Those it leaves when it closes.
        var groups: GroupMembership?
        /// When bytes last came and went: see ``IdleTime``.
        var lastRead: UInt32 = 0
        var lastWrite: UInt32 = 0
        /// In the loop's ``IdleTable``; -1: nowhere.
        var idlePlace: Int32 = -1
        #if DEBUG
            var unflushed = UnflushedWrites()
        #endif
    }

    /// What a channel is about on its way in.
    struct Reading {
        /// True exactly while the channel is on its loop's list of those whose reads this turn completes.
        var isListed = false
        /// Bytes were delivered, and that they are all of this turn has not been told yet.
        var owesComplete = false
        /// Who wants no more bytes for now: see ``ReadingHolds``.
        var holds: ReadingHolds = []
    }

    /// What a channel is about on its way out.
    struct Writing {
        /// True exactly while the channel is on its loop's list of those that send at the end of the turn.
        var isListed = false
        /// The engine has a send, and with it the memory of the first entries.
        var inFlight = false
        /// In this turn the kernel took less than it was offered: it is not asked again before the end of it.
        var isFull = false
        /// The channel is writable again, and the handlers are told at the end of the turn.
        var owesWritable = false
        /// What is written now has waited for its turn: it is taken beyond the limit.
        var isAdmitted = false
    }

    init(eventLoop: EventLoop, configuration: ChannelConfiguration) {
        self.eventLoop = eventLoop
        loopContext = eventLoop.context
        self.configuration = configuration
        levels = ChannelLevels(configuration.waterMark)
        if let threshold = configuration.zeroCopyThreshold { own.zeroCopy = ZeroCopySender(threshold: threshold) }
    }

    /// The handlers. The channel's loop only.
    public var pipeline: ChannelPipeline { ChannelPipeline(channel: self) }

    /// True while the channel is connected and takes writes. Any thread; elsewhere than on the loop a moment old.
    public var isActive: Bool { levels.isOpen }

    var slot: UnsafeMutablePointer<ct_slot>? {
        @inline(__always) get { own.slot }
        set { own.slot = newValue }
    }

    // MARK: Coming to life

    /// The descriptor is connected: the handlers are told, and reading starts.
    func becomeActive() {
        eventLoop.assertOnLoop()
        guard let slot, own.lifecycle.on(.connected) == .activate else { return }
        configuration.applyConnected(to: slot.pointee.fd)
        endOpening()
        stampBoth()
        if let limits = configuration.idle { watchIdle(limits) }
        levels.open()
        own.first.call(.active) { $0.handler.channelActive($0) }
        // Also when it was closed just now: a drain ends with the peer's end of stream.
        if own.lifecycle.isInputOpen, own.reading.holds.isEmpty { startReceiving(slot) }
    }

    func descriptorClosed() { perform(own.lifecycle.on(.released)) }

    func leave(_ departure: Departure) { beginLeaving(departure) }

    func cutOffForShutdown() { cutOff() }

    // MARK: On the loop or off it

    /// True on the thread of the loop.
    @inline(__always)
    var isOnLoop: Bool { ct_current_context() == loopContext }

    /// Runs `body` at once on the loop, else posts it.
    @inline(__always)
    func onLoop(_ body: @escaping @Sendable () -> Void) {
        if isOnLoop { body() } else { eventLoop.post(ClosureWork { _ in body() }) }
    }
}
