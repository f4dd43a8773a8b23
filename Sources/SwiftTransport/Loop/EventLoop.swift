internal import CTransport
internal import Glibc
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

    /// What is the thread's alone. One value, so that one promise covers it: no access to it spans a call into user code.
    @exclusivity(unchecked) var own: Own

    /// What only the loop's thread looks at and changes.
    struct Own {
        /// Channels that received something in this turn, and those that have something to send at its end.
        var readers = TurnList()
        var dirty = TurnList()
        var channels = ChannelRegistry()
        var attempts = ConnectAttempts()
        var outboundMemory: OutboundMemory
        var outbound: OutboundBudget
        var completions = CompletionQueue()
        /// True exactly while somebody is told that a write is over.
        var isTelling = false
        var pausedListeners: [Listener] = []
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
    let vectors = UnsafeMutablePointer<iovec>.allocate(capacity: Channel.vectorsPerSend)
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

    /// The time of the present turn, as nanoseconds of the monotonic clock. Read once per turn; the loop's thread only
    /// (elsewhere it is the clock itself).
    public var now: UInt64 { isCurrent ? ct_loop_now(core) : ct_clock_now() }

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

    /// Runs `body` on the loop's thread once `delay` is over, never early, late by at most a millisecond and what the
    /// turn takes. Any thread.
    ///
    ///     loop.schedule(after: .seconds(5)) { retry() } otherwise: { error in giveUp(error) }
    ///
    /// - Parameters:
    ///   - delay: how long from now.
    ///   - body: what is to be done.
    ///   - otherwise: called once instead of `body` when that will never run: with `.loopShutDown` when the loop ends
    ///     first (after its last channel has closed, on its thread) or has ended already (at once, on this thread), with
    ///     `.outOfMemory` when there is none for the timer. Not when the task is cancelled. Default: nobody is told.
    @discardableResult
    public func schedule(
        after delay: Duration, _ body: @escaping @Sendable () -> Void,
        otherwise: (@Sendable (TransportError) -> Void)? = nil
    ) -> ScheduledTask {
        let task = ScheduledTask(
            loop: self, deadline: ct_clock_now().advanced(by: delay), body: body, otherwise: otherwise)
        task.arm()
        return task
    }

    // MARK: Executors

    /// A task executor that is this loop: for `Task(executorPreference:)` and `withTaskExecutorPreference`.
    public var taskExecutor: any TaskExecutor { executor }

    /// For the runtime: takes a job for the loop's thread. Any thread.
    public func enqueue(_ job: UnownedJob) {
        if offer(ct_message(.serialJob, job)) != nil { executor.bring(job, isolatedTo: self) }
    }

    /// For the runtime, and for an actor's `unownedExecutor`.
    public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

    /// For the runtime: stops the program when it is not on the loop's thread.
    public func checkIsolated() {
        require(isCurrent, "code that is isolated to event loop \(index) runs on another thread")
    }

    /// For the runtime: whether this is the loop's thread.
    public func isIsolatingCurrentContext() -> Bool? { isCurrent }

    func runJob(_ kind: LoopMessage, _ word: UnsafeMutableRawPointer) {
        assertOnLoop()
        let job = LoopMessage.job(word)
        if kind == .serialJob {
            job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: executor.asUnownedTaskExecutor())
        } else {
            job.runSynchronously(on: executor.asUnownedTaskExecutor())
        }
    }

    // MARK: The mailbox

    /// False when `work` was rejected: the loop has shut down, or there was no memory to bring it there.
    @discardableResult
    func post(_ work: LoopWork) -> Bool {
        guard let why = offer(work) else { return true }
        guard why == .outOfMemory, work.mustArrive else {
            work.reject(why)
            return false
        }
        // It is the loop's from here on.
        nonisolated(unsafe) let work = work
        Undelivered.shared.keep { self.deliver(work) }
        return true
    }

    /// False when it must be tried again.
    private func deliver(_ work: LoopWork) -> Bool {
        let why = offer(work)
        if why == .loopShutDown { work.reject(.loopShutDown) }
        return why != .outOfMemory
    }

    private func offer(_ work: LoopWork) -> TransportError.Code? {
        let message = ct_message(work)
        let why = offer(message)
        if why != nil, let word = message.word { _ = LoopMessage.takeWork(word) }
        return why
    }

    /// Why the loop did not take it: `.loopShutDown` or `.outOfMemory`.
    fileprivate func offer(_ message: ct_message) -> TransportError.Code? {
        let isOpen = isCurrent && own.phase != .ended
        let result = isOpen ? ct_mailbox_post_local(core, message) : ct_mailbox_post(mailbox, message)
        return result == 0 ? nil : result == -ENOMEM ? .outOfMemory : .loopShutDown
    }
}

/// The task executor of a loop. An object of its own because the runtime skips a hop only when both executors' identities
/// match. A task may hold it longer than anybody holds the loop, so it owns what it needs.
final class LoopTaskExecutor: TaskExecutor, @unchecked Sendable {
    private let mailbox: OpaquePointer
    let late = LateWork()

    init(_ mailbox: OpaquePointer) {
        self.mailbox = mailbox
        ct_mailbox_retain(mailbox)
    }

    deinit { ct_mailbox_release(mailbox) }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let message = ct_message(.taskJob, job)
        if !postFromLoop(message) { bring(job, isolatedTo: nil) }
    }

    /// From any thread, and when the loop cannot take it from its own. A job must run, or its task would hang for ever.
    func bring(_ job: UnownedJob, isolatedTo loop: EventLoop?) {
        if !deliver(job, isolatedTo: loop) { Undelivered.shared.keep { self.deliver(job, isolatedTo: loop) } }
    }

    /// False when it must be tried again.
    private func deliver(_ job: UnownedJob, isolatedTo loop: EventLoop?) -> Bool {
        let result = ct_mailbox_post(mailbox, ct_message(loop == nil ? .taskJob : .serialJob, job))
        if result == -ENOMEM { return false }
        if result != 0 { late.run(job, isolatedTo: loop, on: self) }
        return true
    }

    /// True when this is the loop's own thread, which keeps the loop alive, and the loop took the message.
    private func postFromLoop(_ message: ct_message) -> Bool {
        guard let current = ct_current_context() else { return false }
        return Unmanaged<EventLoop>.fromOpaque(current)._withUnsafeGuaranteedRef {
            $0.mailbox == mailbox && $0.offer(message) == nil
        }
    }

    func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }
}

extension UInt64 {
    /// A point in time `duration` later, in nanoseconds; clamped instead of overflowing.
    func advanced(by duration: Duration) -> UInt64 {
        let (seconds, attoseconds) = duration.components
        guard seconds >= 0, attoseconds >= 0 else { return self }
        let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let nanoseconds = whole.addingReportingOverflow(UInt64(attoseconds / 1_000_000_000))
        let sum = addingReportingOverflow(nanoseconds.partialValue)
        return overflow || nanoseconds.overflow || sum.overflow ? UInt64.max - 1 : sum.partialValue
    }
}
