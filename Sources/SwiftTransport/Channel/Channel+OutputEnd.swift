internal import CTransport
internal import Synchronization

// The end of the output: asked for by anybody, told to whoever waits for it.
extension Channel {
    /// Ends the output through the pipeline: what is queued is sent, then the end of stream; the channel still reads. Later writes
    /// fail with `.outputShutDown`, as do those of tasks that still wait for their turn. Returns at once. Any thread. On the
    /// channel's loop handlers may be called before it returns: see ``ChannelHandler``.
    ///
    /// - Parameter promise: told when the end of stream is sent behind everything that was accepted, by this call or an earlier one;
    ///   it fails with `.notYetConnected`, or with `.closed` when the channel closed before or is closing already. Default: nobody.
    public func shutdownOutput(promise: consuming WritePromise = .none) { shutdownOutput(promise.take()) }

    private func shutdownOutput(_ completion: WriteCompletion) {
        if isOnLoop {
            shutdownOutput(completion, from: own.last)
        } else {
            eventLoop.post(OutputEndWork(self, completion))
        }
    }

    /// To the next handler from `start` on that wants it, or past all of them. The channel's loop.
    func shutdownOutput(_ completion: WriteCompletion, from start: PipelineLink) {
        let isTaken = start.callOutwards(.shutdownOutput) {
            $0.handler.shutdownOutput($0, promise: WritePromise(completion))
        }
        if !isTaken { shutdownOutputNow(completion) }
    }

    private func shutdownOutputNow(_ completion: WriteCompletion) {
        eventLoop.assertOnLoop()
        let action = own.lifecycle.on(.outputEnds)
        switch own.lifecycle.phase {
        case _ where completion.isNone: break
        case .outputEnding, .outputEndingInputEnded: ensureEnding().outputWaiters.append(completion)
        case .outputEnded, .bothEnded: eventLoop.own.completions.append(completion, nil)
        case .opening: eventLoop.own.completions.append(completion, TransportError(.notYetConnected, call: .shutdown))
        case .open, .inputEnded, .draining, .drainingInputEnded, .breaking, .awaitingPeer, .delivering, .closing,
            .resetting,
            .closed:
            eventLoop.own.completions.append(completion, .closed(by: own.ending?.cause))
        }
        perform(action)
        eventLoop.tellCompletions()
    }

    /// The end of stream is sent, or never will be.
    func tellOutputEnd(_ result: WriteResult) {
        guard let ending = own.ending, !ending.outputWaiters.isEmpty else { return }
        let waiters = ending.outputWaiters
        ending.outputWaiters = []
        for waiter in waiters { eventLoop.own.completions.append(waiter, result) }
        eventLoop.tellCompletions()
    }
}

extension Connection {
    /// Ends the output and returns when the end of stream is sent behind everything that was accepted; the connection still reads.
    ///
    /// A task that is cancelled waits no longer; the output ends all the same.
    ///
    /// - Throws: `.closed` with the first cause, `.cancelled`, `.loopShutDown`.
    public func shutdownOutput() async throws(TransportError) {
        let wait = OutputEndWait()
        let result = await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                wait.start(continuation)
                channel.shutdownOutput(promise: .callback { wait.end($0) })
            }
        } onCancel: {
            wait.end(TransportError(.cancelled, call: .shutdown))
        }
        if let result { throw result }
    }
}

/// A task that waits for the end of the output, or for its own. Any thread.
private final class OutputEndWait: Sendable {
    private struct State {
        var continuation: UnsafeContinuation<WriteResult, Never>?
        /// What came first, before the task waited.
        var end: WriteResult?
    }
    private let state = Mutex(State())

    func start(_ continuation: UnsafeContinuation<WriteResult, Never>) {
        let end = state.withLock { state in
            if state.end == nil { state.continuation = continuation }
            return state.end
        }
        if let end { continuation.resume(returning: end) }
    }

    func end(_ result: WriteResult) {
        let waiter = state.withLock { state in
            if state.end == nil { state.end = .some(result) }
            defer { state.continuation = nil }
            return state.continuation
        }
        waiter?.resume(returning: result)
    }
}

/// The end of the output on its way to the channel's loop.
private final class OutputEndWork: LoopWork {
    private let channel: Channel
    private let completion: WriteCompletion

    init(_ channel: Channel, _ completion: WriteCompletion) {
        self.channel = channel
        self.completion = completion
    }

    override func run(on loop: EventLoop) { channel.shutdownOutput(completion, from: channel.own.last) }
    override func reject(_ why: TransportError.Code) { completion.complete(TransportError(why)) }
}
