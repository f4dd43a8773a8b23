internal import Synchronization

/// The last handler of a ``Connection``: keeps what comes in until a task asks for it, and stops reading when the task falls
/// behind. The loop's thread only, except where said.
final class InboundBridge: ChannelHandler, @unchecked Sendable {
    static let interests: ChannelEvents = [
        .active, .read, .readComplete, .inputClosed, .error, .shutdown, .inactive,
    ]

    typealias Outcome = Result<Buffer?, TransportError>

    /// Memory of kept bytes at or above which reading pauses, and at or below which it goes on.
    static let high = 64 * 1024
    static let low = 32 * 1024

    /// What is the loop's alone. One value, so that one promise covers it: no access to it spans a call into user code.
    @exclusivity(unchecked) private var own = Own()

    private struct Own {
        var channel: Channel?
        var input = InputQueue()
        var end: Outcome?
        var isPaused = false
        var waiter: InboundWait?
        var task: Task<Void, Never>?
    }

    private let started: (@Sendable (Connection) -> Task<Void, Never>)?
    // Any thread.
    private let shutdownBegan = Atomic<Bool>(false)

    /// - Parameter started: begins the task that serves the connection; it is cancelled when the channel is closed.
    init(started: (@Sendable (Connection) -> Task<Void, Never>)? = nil) { self.started = started }

    /// Any thread.
    var isShuttingDown: Bool { shutdownBegan.load(ordering: .acquiring) }

    // MARK: From the channel

    func channelActive(_ context: ChannelContext) {
        own.channel = context.channel
        own.task = started?(Connection(channel: context.channel, bridge: self))
    }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        own.input.append(bytes)
        if own.input.cost >= Self.high, !own.isPaused {
            own.isPaused = true
            context.channel.holdReading(true, .task)
        }
    }

    // Once per turn and not per piece: a task that is woken finds all there is, and does not suspend for the rest.
    func channelReadComplete(_ context: ChannelContext) { wake() }

    func inputClosed(_ context: ChannelContext) { finish(.success(nil)) }
    func errorCaught(_ context: ChannelContext, _ error: TransportError) { finish(.failure(error)) }

    /// A task that serves the connection and is not waiting for input is at work: it is left to finish, and its end closes
    /// the channel. Everybody else has nothing to do any more.
    func shutdownBegan(_ context: ChannelContext) {
        shutdownBegan.store(true, ordering: .releasing)
        let isAtWork = own.task != nil && own.waiter == nil
        wake()
        if !isAtWork { context.fireShutdownBegan() }
    }

    func channelInactive(_ context: ChannelContext) {
        finish(outcomeOfClose(context.channel))
        own.task?.cancel()
        own.task = nil
        own.channel = nil
    }

    /// What a reader is told whose channel was closed at this end. A clean end only if it was somebody's wish.
    private func outcomeOfClose(_ channel: Channel) -> Outcome {
        if let cause = channel.own.ending?.cause { return .failure(.closed(by: cause)) }
        return isShuttingDown ? .failure(TransportError(.shuttingDown, call: .receive)) : .success(nil)
    }

    private func finish(_ outcome: Outcome) {
        if own.end == nil { own.end = outcome }
        wake()
    }

    private func wake() {
        guard let waiter = own.waiter, let outcome = takeReady() else { return }
        own.waiter = nil
        waiter.resume(outcome)
    }

    // MARK: To the task

    /// What is there, without waiting.
    func takeReady() -> Outcome? {
        guard let buffer = own.input.removeFirst() else {
            if let end = own.end { return end }
            return isShuttingDown ? .failure(TransportError(.shuttingDown, call: .receive)) : nil
        }
        if own.isPaused, own.input.cost <= Self.low {
            own.isPaused = false
            own.channel?.holdReading(false, .task)
        }
        return .success(buffer)
    }

    /// The same when the loop has ended: what was kept is handed out first. In the loop's late work.
    func takeLate() -> Outcome { takeReady() ?? .failure(TransportError(.loopShutDown, call: .receive)) }

    /// Only one task may wait at a time; a second one is told that it was one too many.
    func wait(_ wait: InboundWait) {
        if let outcome = takeReady() {
            wait.resume(outcome)
        } else if wait.isCancelled {
            wait.resume(.failure(TransportError(.cancelled, call: .receive)))
        } else if own.waiter != nil {
            wait.resume(.failure(TransportError(.alreadyReading, call: .receive)))
        } else {
            own.waiter = wait
        }
    }

    /// The waiting task was cancelled.
    func cancel(_ wait: InboundWait) {
        guard own.waiter === wait else { return }
        own.waiter = nil
        wait.resume(.failure(TransportError(.cancelled, call: .receive)))
    }
}

/// A task that waits for bytes. Brings itself to the loop, and takes itself back when the task is cancelled.
final class InboundWait: LoopWork, @unchecked Sendable {
    private let bridge: InboundBridge
    private let loop: EventLoop
    private let cancelled = Atomic<Bool>(false)
    // Set before the wait is handed to the loop, and the loop's from then on.
    private var continuation: UnsafeContinuation<InboundBridge.Outcome, Never>?

    init(_ bridge: InboundBridge, on loop: EventLoop) {
        self.bridge = bridge
        self.loop = loop
    }

    var isCancelled: Bool { cancelled.load(ordering: .sequentiallyConsistent) }

    /// Any thread.
    func start(_ continuation: UnsafeContinuation<InboundBridge.Outcome, Never>) {
        self.continuation = continuation
        if loop.isCurrent { bridge.wait(self) } else { loop.post(self) }
    }

    /// Any thread. Either the wait sees the flag when it gets to the loop, or this gets there behind it.
    func cancel() {
        cancelled.store(true, ordering: .sequentiallyConsistent)
        loop.post(ClosureWork { _ in self.bridge.cancel(self) })
    }

    func resume(_ outcome: InboundBridge.Outcome) {
        continuation?.resume(returning: outcome)
        continuation = nil
    }

    override func run(on loop: EventLoop) { bridge.wait(self) }
    override func reject(_ why: TransportError.Code) {
        guard why == .loopShutDown else { return resume(.failure(TransportError(why, call: .receive))) }
        loop.executor.late.run(on: loop.executor) { self.resume(self.bridge.takeLate()) }
    }
    override var mustArrive: Bool { false }
}
