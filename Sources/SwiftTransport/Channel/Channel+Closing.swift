internal import CTransport

// The ways to an end: who asks for it, and what limits it. Every one of them is an event of the channel's lifecycle; what is
// to be done is done in Channel+Ending.
extension Channel {
    /// Closes the channel through the pipeline. Returns at once; a second close changes nothing, except that `.immediate`
    /// and `.reset` cut a drain short. Any thread. On the channel's loop handlers may be called before it returns: see
    /// ``ChannelHandler``.
    public func close(_ mode: CloseMode = .graceful) {
        onLoop { self.close(mode, from: self.own.last) }
    }

    /// To the next handler from `start` on that wants it, or past all of them. The channel's loop.
    func close(_ mode: CloseMode, from start: PipelineLink) {
        if !start.callOutwards(.close, { $0.handler.close($0, mode) }) { closeNow(mode) }
    }

    /// Returns when the channel is closed: every write has been told how it ended and the descriptor is free. Does not
    /// close it. Any thread.
    public func closed() async {
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
            onClose { continuation.resume() }
        }
    }

    /// Calls `body` once, when the channel is closed: every write has been told how it ended, the handlers have left and the
    /// descriptor is free. In the order of the calls, on the channel's loop; at once, on this thread, when it is closed
    /// already and this is its loop or the loop has ended. Does not close it. Any thread.
    ///
    /// What `body` holds it holds until then.
    public func onClose(_ body: @escaping @Sendable () -> Void) {
        if isOnLoop {
            whenClosed(body)
        } else {
            eventLoop.post(
                ClosureWork { _ in
                    self.whenClosed(body)
                } otherwise: {
                    body()
                })
        }
    }

    private func whenClosed(_ body: @escaping () -> Void) {
        if own.lifecycle.phase == .closed { body() } else { ensureEnding().waiters.append(body) }
    }

    func ensureEnding() -> ChannelEnding {
        if let ending = own.ending { return ending }
        let fresh = ChannelEnding()
        own.ending = fresh
        return fresh
    }

    // MARK: The ways to an end

    func closeNow(_ mode: CloseMode) {
        eventLoop.assertOnLoop()
        guard case .drain(let duration) = mode else { return end(resetting: mode == .reset) }
        noteEnd()
        let action = own.lifecycle.on(.drain)
        perform(action)
        if action != .nothing, own.lifecycle.phase != .closed { limitEnd(to: duration) }
    }

    /// At once. The peer gets the end of stream only if everything that was accepted is the kernel's, and a reset otherwise.
    func end(resetting: Bool) {
        eventLoop.assertOnLoop()
        noteEnd()
        let hasRest = (own.queue?.unsentBytes ?? 0) > 0
        perform(own.lifecycle.on(.close(resets: resetting || hasRest)))
    }

    /// Something failed that ends the connection: the handlers hear of it, then it closes.
    func fail(_ error: TransportError) {
        eventLoop.assertOnLoop()
        guard !own.lifecycle.isOver else { return }
        tellFailure(error)
        end(resetting: false)
    }

    /// A write failed that nobody waits for: behind it the stream would have a hole that nobody knows of. What was accepted
    /// and flushed before it is still sent, and then the peer gets a reset, not an end that looks like a whole stream.
    func breakOff(_ error: TransportError) {
        guard own.lifecycle.isActive || own.lifecycle.isDraining else { return fail(error) }
        let action = own.lifecycle.on(.hole)
        guard action != .nothing else { return }
        perform(action)
        limitEnd(to: CloseMode.gracefulTime)
        tellFailure(error)
        goOn()
    }

    private func tellFailure(_ error: TransportError) {
        let ending = ensureEnding()
        if ending.cause == nil { ending.cause = error }
        if own.lifecycle.phase != .opening { own.first.call(.error) { $0.handler.errorCaught($0, error) } }
    }

    // MARK: Limits

    /// The end may take this long from now on; only ever shorter.
    func limitEnd(to duration: Duration) {
        let ending = ensureEnding()
        let deadline = eventLoop.turnTime.advanced(by: duration)
        guard deadline < ending.deadline else { return }
        ending.timer?.disarm(on: eventLoop)
        let timer = CallbackTimer { [unowned self] in self.cutOff() }
        ending.deadline = deadline
        ending.timer = timer
        do throws(TransportError) { try timer.arm(on: eventLoop, at: deadline) } catch { cutOff(by: error) }
    }

    /// There is no memory to wait with. What was to be waited for is cut off, and the handlers hear why.
    func cutOff(by error: TransportError) {
        if own.lifecycle.isOver {
            // The kernel has everything, and ends by itself what it has, but for memory of ours that a peer does not want.
            if own.zeroCopy?.isOutstanding == true { cutOff() }
            return
        }
        tellFailure(error)
        cutOff()
    }

    /// The time is over.
    func cutOff() {
        let kernelReads = own.zeroCopy?.isOutstanding == true
        perform(own.lifecycle.on(.timeIsOver(kernelReadsOurMemory: kernelReads)))
    }
}
