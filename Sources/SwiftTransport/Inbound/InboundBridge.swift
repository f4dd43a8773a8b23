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

    // No access to one of these spans a call into user code.
    @exclusivity(unchecked) private var channel: Channel?
    @exclusivity(unchecked) private var input = InputQueue()
    @exclusivity(unchecked) private var end: Outcome?
    @exclusivity(unchecked) private var isPaused = false
    @exclusivity(unchecked) private var waiter: InboundWait?
    private let started: (@Sendable (Connection) -> Task<Void, Never>)?
    @exclusivity(unchecked) private var task: Task<Void, Never>?
    // Any thread.
    private let shutdownBegan = Atomic<Bool>(false)

    /// - Parameter started: begins the task that serves the connection; it is cancelled when the channel is closed.
    init(started: (@Sendable (Connection) -> Task<Void, Never>)? = nil) { self.started = started }

    /// Any thread.
    var isShuttingDown: Bool { shutdownBegan.load(ordering: .acquiring) }

    // MARK: From the channel

    func channelActive(_ context: ChannelContext) {
        channel = context.channel
        task = started?(Connection(channel: context.channel, bridge: self))
    }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        input.append(bytes)
        if input.cost >= Self.high, !isPaused {
            isPaused = true
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
        let isAtWork = task != nil && waiter == nil
        wake()
        if !isAtWork { context.fireShutdownBegan() }
    }

    func channelInactive(_ context: ChannelContext) {
        finish(outcomeOfClose(context.channel))
        task?.cancel()
        task = nil
        channel = nil
    }

    /// What a reader is told whose channel was closed at this end. A clean end only if it was somebody's wish.
    private func outcomeOfClose(_ channel: Channel) -> Outcome {
        if let cause = channel.own.ending?.cause { return .failure(.closed(by: cause)) }
        return isShuttingDown ? .failure(TransportError(.shuttingDown, call: .receive)) : .success(nil)
    }

    private func finish(_ outcome: Outcome) {
        if end == nil { end = outcome }
        wake()
    }

    private func wake() {
        guard let waiter, let outcome = takeReady() else { return }
        self.waiter = nil
        waiter.resume(outcome)
    }

    // MARK: To the task

    /// What is there, without waiting.
    func takeReady() -> Outcome? {
        guard let buffer = input.removeFirst() else {
            if let end { return end }
            return isShuttingDown ? .failure(TransportError(.shuttingDown, call: .receive)) : nil
        }
        if isPaused, input.cost <= Self.low {
            isPaused = false
            channel?.holdReading(false, .task)
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
        } else if waiter != nil {
            wait.resume(.failure(TransportError(.alreadyReading, call: .receive)))
        } else {
            waiter = wait
        }
    }

    /// The waiting task was cancelled.
    func cancel(_ wait: InboundWait) {
        guard waiter === wait else { return }
        waiter = nil
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
