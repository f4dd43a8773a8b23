internal import CTransport

// The end of a channel. The order is always: no more writes, the last completion of the kernel, every queued write told,
// the descriptor closed, `channelInactive`, handlers removed, whoever awaits the close.
extension Channel {
    /// Closes the channel through the pipeline. Returns at once; a second close changes nothing, except that `.immediate`
    /// and `.reset` cut a drain short. Any thread.
    public func close(_ mode: CloseMode = .graceful) {
        onLoop { self.close(mode, from: self.lastContext) }
    }

    /// To the next handler from `start` on that wants it, or past all of them. The channel's loop.
    func close(_ mode: CloseMode, from start: Unmanaged<ChannelContext>?) {
        if let target = ChannelContext.findBackwards(.close, from: start) {
            target._withUnsafeGuaranteedRef { $0.handler.close($0, mode) }
        } else {
            closeNow(mode)
        }
    }

    /// Returns when the channel is closed: every write has been told how it ended and the descriptor is free. Does not
    /// close it. Any thread.
    public func closed() async {
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
            let work = ClosureWork { _ in self.awaitClosed(continuation) }
            if isOnLoop {
                awaitClosed(continuation)
            } else if !eventLoop.post(work) {
                continuation.resume()
            }
        }
    }

    private func awaitClosed(_ continuation: UnsafeContinuation<Void, Never>) {
        if state == .closed { continuation.resume() } else { ensureEnding().waiters.append(continuation) }
    }

    /// Ends the output: what is queued is sent, then the end of stream; the channel still reads. Later writes fail with
    /// `.outputShutDown`. Any thread.
    public func shutdownOutput() {
        onLoop {
            guard self.state == .active, !self.writing.isShutDown else { return }
            self.writing.isShutDown = true
            if let queue = self.queue {
                queue._withUnsafeGuaranteedRef { $0.flush() }
                self.listDirty()
            } else {
                self.finishOutput()
            }
        }
    }

    func ensureEnding() -> ChannelEnding {
        if let ending { return ending }
        let fresh = ChannelEnding()
        ending = fresh
        return fresh
    }

    // MARK: The ways to an end

    func drainForShutdown(within duration: Duration) {
        ensureEnding().isShutdown = true
        if duration > .zero { closeNow(.drain(within: duration)) } else { cutOff() }
    }

    func closeNow(_ mode: CloseMode) {
        switch (state, mode) {
        case (.active, .drain(let duration)): drain(within: duration)
        case (.draining, .drain(let duration)): limitDrain(to: duration)
        case (.opening, _), (.active, _), (.draining, _): tearDown(resetting: mode == .reset)
        case (.closing, _), (.closed, _): break
        }
    }

    /// Something failed that ends the connection: the handlers hear of it, then it closes.
    func fail(_ error: TransportError) {
        guard state != .closing, state != .closed else { return }
        let ending = ensureEnding()
        if ending.cause == nil { ending.cause = error }
        if state != .opening, let first = ChannelContext.find(.error, from: firstContext) {
            first._withUnsafeGuaranteedRef { $0.handler.errorCaught($0, error) }
        }
        tearDown(resetting: false)
    }

    private func drain(within duration: Duration) {
        state = .draining
        levels.close()
        dropHeld()
        limitDrain(to: duration)
        if let queue { queue._withUnsafeGuaranteedRef { $0.flush() } }
        // Not at once: a close from within a completion must not overtake the walk it came from.
        if !writing.isCompleting { continueDraining() }
    }

    /// One step further: the queue, then the end of stream, then the peer's.
    func continueDraining() {
        guard state == .draining, let slot else { return }
        if queue != nil {
            listDirty()
            return
        }
        finishOutput()
        if state != .draining { return }
        if reading.isEnded {
            tearDown(resetting: false)
        } else {
            // Also when reading was switched off: the peer's end must be seen.
            if ct_receive_start(eventLoop.core, slot) < 0 { tearDown(resetting: false) }
        }
    }

    /// The queue is empty and nothing more will come: the peer gets the end of stream.
    func finishOutput() {
        guard !writing.isFinished, let slot else { return }
        writing.isFinished = true
        // Failing means that the connection is gone already; closing is all that is left.
        if ct_socket_shutdown_output(slot.pointee.fd) < 0 || reading.isEnded {
            tearDown(resetting: false)
        } else if state == .active, let first = ChannelContext.find(.userEvent, from: firstContext) {
            first._withUnsafeGuaranteedRef { $0.handler.userEvent($0, ChannelNotice.outputShutDown) }
        }
    }

    private func limitDrain(to duration: Duration) {
        let ending = ensureEnding()
        let deadline = eventLoop.now.advanced(by: duration)
        guard deadline < ending.deadline else { return }
        ending.timer?.disarm(on: eventLoop)
        let timer = CallbackTimer { [unowned self] in self.cutOff() }
        ending.deadline = deadline
        ending.timer = timer
        timer.arm(on: eventLoop, at: deadline)
    }

    private func cutOff() {
        guard state == .draining || state == .active || state == .opening else { return }
        if let ending, ending.isShutdown {
            eventLoop.shutdown?.report.add(ShutdownReport(channelsCutOff: 1, bytesDropped: queuedBytes))
        }
        ensureEnding().cause = TransportError(.timedOut)
        // Memory of zero-copy sends is the kernel's until the peer has read it, which this one does not do.
        tearDown(resetting: zeroCopy?.isOutstanding ?? false)
    }

    private var queuedBytes: Int {
        let entries = queue?._withUnsafeGuaranteedRef { $0.count } ?? 0
        return levels.pending - entries * WaterMark.entryOverhead.bytes
    }

    func tearDown(resetting: Bool) {
        guard state != .closing, state != .closed else { return }
        state = .closing
        levels.close()
        dropHeld()
        ending?.timer?.disarm(on: eventLoop)
        ending?.timer = nil
        guard let slot else { return }
        if configuration.lingers { _ = ct_socket_set_linger(slot.pointee.fd, false, 0) }
        if resetting { ct_slot_reset(eventLoop.core, slot) } else { ct_slot_close(eventLoop.core, slot) }
        failQueue()
    }

    /// The descriptor is closed; the slot is somebody else's.
    func finishClose() {
        guard let slot, state == .closing else { return }
        state = .closed
        self.slot = nil
        failQueue()
        if writing.isListed { eventLoop.dirty.remove(self) }
        eventLoop.channels.remove(at: Int(slot.pointee.index))
        if reading.wasActive, let first = ChannelContext.find(.inactive, from: firstContext) {
            first._withUnsafeGuaranteedRef { $0.handler.channelInactive($0) }
        }
        pipeline.removeAll()
        let ending = ending
        self.ending = ending?.cause == nil ? nil : ending
        ending?.onClosed?()
        ending?.onClosed = nil
        ending?.connected = nil
        let waiters = ending?.waiters ?? []
        ending?.waiters = []
        for waiter in waiters { waiter.resume() }
        eventLoop.descriptorFreed()
        Unmanaged.passUnretained(self).release()
    }
}

/// What a channel says of itself through ``ChannelHandler/userEvent(_:_:)``.
public enum ChannelNotice: Sendable, Hashable {
    /// ``Channel/shutdownOutput()`` is done: the peer gets the end of stream, and the channel still reads.
    case outputShutDown
}
