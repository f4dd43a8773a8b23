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
        var service = Service.none
    }

    /// Who serves the connection: it is cancelled when the channel is closed.
    enum Service {
        /// Nobody, or whoever opened it.
        case none
        /// A task of a group that has not begun.
        case expected
        /// A task of its own.
        case task(Task<Void, Never>)
        /// A task of a group, which says itself when it begins and ends.
        case child(UnsafeCurrentTask)

        func cancel() {
            switch self {
            case .none, .expected: break
            case .task(let task): task.cancel()
            case .child(let task): task.cancel()
            }
        }
    }

    private let started: (@Sendable (Connection) -> Service)?
    // Any thread.
    private let shutdownBegan = Atomic<Bool>(false)

    /// - Parameter started: begins the task that serves the connection, or has it begun.
    init(started: (@Sendable (Connection) -> Service)? = nil) { self.started = started }

    /// Any thread.
    var isShuttingDown: Bool { shutdownBegan.load(ordering: .acquiring) }

    // MARK: From the channel

    func channelActive(_ context: ChannelContext) {
        own.channel = context.channel
        if let started { own.service = started(Connection(channel: context.channel, bridge: self)) }
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
    func errorCaught(_ context: ChannelContext, _ error: any Error) {
        finish(.failure(TransportError(wrapping: error, call: .receive)))
    }

    /// A task that serves the connection and is not waiting for input is at work: it is left to finish, and its end closes
    /// the channel. Everybody else has nothing to do any more.
    func shutdownBegan(_ context: ChannelContext) {
        shutdownBegan.store(true, ordering: .releasing)
        let isServed = if case .none = own.service { false } else { true }
        let isAtWork = isServed && own.waiter == nil
        wake()
        if !isAtWork { context.fireShutdownBegan() }
    }

    func channelInactive(_ context: ChannelContext) {
        finish(outcomeOfClose(context.channel))
        let service = own.service
        own.service = .none
        own.channel = nil
        service.cancel()
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
            wait.begin()
        }
    }

    /// The task waits no longer: it was cancelled, or its time is over. What comes is the next reader's.
    func giveUp(_ wait: InboundWait, _ error: TransportError) {
        guard own.waiter === wait else { return }
        own.waiter = nil
        wait.resume(.failure(error.of(.receive)))
    }

    // MARK: A task of a group

    /// The task that runs this call serves the connection from now on. The channel may be closed by now.
    func beginService() {
        withUnsafeCurrentTask { task in
            guard let task else { return }
            if own.channel == nil { task.cancel() } else { own.service = .child(task) }
        }
    }

    /// It does so no longer: nobody may cancel it any more.
    func endService() { own.service = .none }
}
