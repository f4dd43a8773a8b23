internal import CTransport
internal import Synchronization

/// One thread, its connections, their timers and the tasks that run beside them.
///
/// A loop is a serial executor: an actor that returns ``asUnownedSerialExecutor()`` from its `unownedExecutor` runs on it. Tasks
/// await such an actor as any other; a handler of the loop is in its isolation already, and need not:
///
///     actor Room {
///         private let loop: EventLoop
///         private var members: [Channel] = []
///
///         nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
///         init(on loop: EventLoop) { self.loop = loop }
///
///         func join(_ channel: Channel) { members.append(channel) }
///         func say(_ text: String) { for member in members { member.writeAndFlush(Buffer(text)) } }
///     }
///
///     await room.say("welcome")                                           // any task
///     room.assumeIsolated { $0.join(context.channel) }                    // a handler of the same loop
///
/// Its ``taskExecutor`` makes tasks run on it without ever leaving the thread:
///
///     Task(executorPreference: channel.eventLoop.taskExecutor) {
///         try await channel.send(request)     // no thread is changed
///     }
///
/// State of the loop that is no actor's travels in a ``LoopBound``.
///
/// Every method may be called from any thread. Nothing that runs on a loop may block: every connection of that loop
/// would wait.
public final class EventLoop: SerialExecutor, @unchecked Sendable {
    let core: OpaquePointer
    let mailbox: OpaquePointer
    let options: LoopOptions
    /// The position of the loop in its group, counted from 0.
    public let index: Int
    /// Which engine drives the loop.
    public let engine: Engine

    /// What is on its way here in messages that carry writes. Any thread counts; it pairs with nothing, because the mailbox hands the
    /// writes themselves over.
    let onTheWay = Atomic<Int>(0)

    /// What is the thread's alone. One value, so that one promise covers it: no access to it spans a call into user code.
    @exclusivity(unchecked) var own: Own

    /// What only the loop's thread looks at and changes.
    struct Own {
        /// Channels that received something in this turn, and those that have something to send at its end.
        var readers = TurnList()
        var dirty = TurnList()
        var channels = ChannelRegistry()
        var attempts = ConnectAttempts()
        var unconnected = UnconnectedChannels()
        var outboundMemory: OutboundMemory
        var outbound: OutboundBudget
        var completions = CompletionQueue()
        /// True exactly while somebody is told that a write is over.
        var isTelling = false
        var pausedListeners: [Listener] = []
        /// The time of the turn in the units of ``IdleTime``, and who wants to hear of silence.
        var stamp: UInt32 = 0
        var idle = IdleTable()
        /// What chance is drawn from: see ``EventLoop/draw()``.
        var random: UInt64 = 0
        var removedContexts: [ContextReference] = []
        var phase = Phase.running
        var shutdown: LoopShutdown?
        #if DEBUG
            var lapBegan: UInt64 = 0
            var effortBefore = ThreadEffort()
            var written: [Channel] = []
        #endif
    }

    /// Scratch for laying out a send; the engine has read it when the call returns.
    let vectors: UnsafeMutablePointer<iovec>
    let executor: LoopTaskExecutor

    enum Phase: UInt8 {
        /// Serves.
        case running
        /// Closes its channels; takes no new ones.
        case closing
        /// Its thread has ended.
        case ended
    }

    init(index: Int, options: LoopOptions) throws(TransportError) {
        var native = options.native
        core = try checked { ct_loop_create(&native, &$0) }
        mailbox = ct_loop_mailbox(core)
        ct_mailbox_retain(mailbox)
        engine = ct_loop_engine(core) == CT_ENGINE_URING ? .uring : .epoll
        self.index = index
        self.options = options
        own = Own(
            outboundMemory: OutboundMemory(options), outbound: OutboundBudget(limit: options.outboundBudget.bytes))
        executor = LoopTaskExecutor(mailbox)
        // Not before: a loop that cannot be made is not taken down either.
        vectors = .allocate(capacity: Channel.vectorsPerSend)
    }

    deinit {
        // The thread holds the loop while it runs, so nothing of it is alive any more. A loop whose thread never
        // started is taken down here.
        if own.phase != .ended { ct_loop_destroy(core) }
        ct_mailbox_release(mailbox)
        vectors.deallocate()
        own.readers.deallocate()
        own.dirty.deallocate()
        own.completions.deallocate()
        own.outboundMemory.deallocate()
    }

    // MARK: Where am I

    /// The loop as its thread knows it: to compare with.
    var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    /// True on the loop's own thread.
    public var isCurrent: Bool { ct_current_context() == context }

    /// The loop whose thread this is, if any.
    public static var current: EventLoop? {
        ct_current_context().map { Unmanaged<EventLoop>.fromOpaque($0).takeUnretainedValue() }
    }

    // MARK: Running things on the loop

    /// Runs `body` on the loop's thread, soon, in the order of the calls of each thread. Returns at once.
    ///
    /// Allocates two small objects. After the loop has shut down, and when there is no memory to bring it there, `body` is not
    /// run and the result is false.
    @discardableResult
    public func execute(_ body: @escaping @Sendable () -> Void) -> Bool {
        post(ExecuteWork(body))
    }

    /// Runs `body` on the loop's thread and returns what it returns; `nil`, without having run it, after the loop has shut
    /// down, and when there is no memory to bring it there.
    public func run<Answer: Sendable>(_ body: @escaping @Sendable () -> Answer) async -> Answer? {
        if case .success(let answer) = await ask(body) { answer } else { nil }
    }

    /// The same, with the reason.
    func ask<Answer: Sendable>(_ body: @escaping @Sendable () -> Answer) async -> Result<Answer, TransportError> {
        if isCurrent { return .success(body()) }
        return await withUnsafeContinuation { post(QuestionWork($0, body)) }
    }
}
