internal import CTransport

// The end of a channel. The order is always: no more writes, the last completion of the kernel, every queued write told,
// the descriptor closed, `channelInactive`, handlers removed, whoever awaits the close.
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
            let work = ClosureWork { _ in self.awaitClosed(continuation) }
            if isOnLoop {
                awaitClosed(continuation)
            } else if !eventLoop.post(work) {
                continuation.resume()
            }
        }
    }

    private func awaitClosed(_ continuation: UnsafeContinuation<Void, Never>) {
        if own.state == .closed { continuation.resume() } else { ensureEnding().waiters.append(continuation) }
    }

    /// Ends the output: what is queued is sent, then the end of stream; the channel still reads. Later writes fail with
    /// `.outputShutDown`, as do those of tasks that still wait for their turn. Any thread.
    public func shutdownOutput() {
        onLoop {
            guard self.own.state == .active, !self.own.writing.isShutDown else { return }
            self.own.writing.isShutDown = true
            self.refuseWaiting()
            if let queue = self.own.queue {
                queue.flush()
                self.listDirty()
            } else {
                self.finishOutput()
            }
        }
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
        switch (own.state, mode) {
        case (.active, .drain(let duration)): drain(within: duration)
        case (.draining, .drain(let duration)): limitEnd(to: duration)
        case (.opening, _), (.active, _), (.draining, _): tearDown(resetting: mode == .reset)
        case (.closing, .reset): cutOff()
        case (.closing, _), (.closed, _): break
        }
    }

    /// Something failed that ends the connection: the handlers hear of it, then it closes.
    func fail(_ error: TransportError) {
        eventLoop.assertOnLoop()
        guard own.state != .closing, own.state != .closed else { return }
        tellFailure(error)
        tearDown(resetting: false)
    }

    /// A write failed that nobody waits for: behind it the stream would have a hole that nobody knows of. What was accepted
    /// and flushed before it is still sent, and then the peer gets a reset, not an end that looks like a whole stream.
    func breakOff(_ error: TransportError) {
        guard own.state == .active || own.state == .draining else { return fail(error) }
        let ending = ensureEnding()
        guard !ending.isBroken else { return }
        ending.isBroken = true
        stopTaking()
        limitEnd(to: CloseMode.gracefulTime)
        tellFailure(error)
        continueDraining()
    }

    private func tellFailure(_ error: TransportError) {
        let ending = ensureEnding()
        if ending.cause == nil { ending.cause = error }
        if own.state != .opening { own.first.call(.error) { $0.handler.errorCaught($0, error) } }
    }

    private func drain(within duration: Duration?) {
        noteEnd()
        stopTaking()
        if let duration { limitEnd(to: duration) }
        if let queue = own.queue { queue.flush() }
        continueDraining()
    }

    /// Neither writes nor bytes from the peer are taken any more.
    private func stopTaking() {
        guard own.state == .active else { return }
        own.state = .draining
        levels.close()
        dropHeld()
        // Whoever held reading back, or still had to hand out what was held: the peer may read only when it is read from.
        if !own.reading.isEnded, let slot { _ = ct_receive_start(eventLoop.core, slot) }
        refuseWaiting()
    }

    /// One step further: the queue, then the end of stream, then the peer's.
    func continueDraining() {
        guard own.state == .draining, let slot, let ending = own.ending else { return }
        if let queue = own.queue, !ending.isBroken || queue.hasFlushed {
            listDirty()
            return
        }
        if ending.isBroken { return awaitDelivery() }
        finishOutput()
        if own.state != .draining { return }
        if own.reading.isEnded {
            tearDown(resetting: false)
        } else if ct_receive_start(eventLoop.core, slot) < 0 {
            // Also when reading was held back: the peer's end must be seen.
            tearDown(resetting: false)
        } else if !ending.departures.isEmpty {
            // Nobody who leaves waits for a peer that has everything and says nothing.
            awaitDelivery()
        }
    }

    /// The queue is empty and nothing more will come: the peer gets the end of stream.
    func finishOutput() {
        guard !own.writing.isFinished, let slot else { return }
        own.writing.isFinished = true
        // Failing means that the connection is gone. Whoever reads is told why, behind the bytes that came before.
        let isSent = ct_socket_shutdown_output(slot.pointee.fd) == 0
        if own.reading.isEnded {
            tearDown(resetting: false)
        } else if isSent, own.state == .active {
            own.first.call(.userEvent) { $0.handler.userEvent($0, ChannelNotice.outputShutDown) }
        }
    }

    // MARK: Delivery

    /// How long to wait before looking again: what is under way to a peer that reads takes a round trip.
    private static let firstLook: Duration = .milliseconds(1)
    private static let longestLook: Duration = .milliseconds(50)

    /// Closes once the peer's kernel has everything that ours accepted: a reset destroys what is still under way. The
    /// deadline of the end bounds it.
    private func awaitDelivery(after pause: Duration = Channel.firstLook) {
        guard own.state == .draining, let slot, let ending = own.ending, ending.look == nil else { return }
        if ct_socket_unsent(slot.pointee.fd) <= 0 {
            tearDown(resetting: ending.isBroken)
            return
        }
        let look = CallbackTimer { [unowned self] in
            self.own.ending?.look = nil
            self.awaitDelivery(after: min(pause * 2, Channel.longestLook))
        }
        ending.look = look
        let next = eventLoop.now.advanced(by: pause)
        // Without a timer there is no later.
        do throws(TransportError) { try look.arm(on: eventLoop, at: next) } catch { cutOff() }
    }

    // MARK: Limits

    /// The end may take this long from now on; only ever shorter.
    private func limitEnd(to duration: Duration) {
        let ending = ensureEnding()
        let deadline = eventLoop.now.advanced(by: duration)
        guard deadline < ending.deadline else { return }
        ending.timer?.disarm(on: eventLoop)
        let timer = CallbackTimer { [unowned self] in self.cutOff() }
        ending.deadline = deadline
        ending.timer = timer
        do throws(TransportError) { try timer.arm(on: eventLoop, at: deadline) } catch { cutOff() }
    }

    /// The time is over.
    func cutOff() {
        switch own.state {
        case .closing:
            // Memory of zero-copy sends is the kernel's until the peer has read it, which this one does not do.
            if let slot { ct_slot_reset(eventLoop.core, slot) }
        case .draining where own.writing.isFinished && own.zeroCopy?.isOutstanding != true:
            // The kernel has everything, and the peer its end of stream: all that is missing is the peer's own.
            tearDown(resetting: false)
        case .opening, .active, .draining:
            let ending = ensureEnding()
            ending.wasCutOff = true
            if ending.cause == nil { ending.cause = TransportError(.timedOut) }
            tearDown(resetting: true)
        case .closed: break
        }
    }

    // MARK: Leaving: a graceful shutdown

    func beginLeaving(_ departure: Departure) {
        guard own.state != .closed else { return }
        let ending = ensureEnding()
        departure.joined()
        ending.departures.append(departure)
        if own.state == .opening { return tearDown(resetting: false) }
        guard own.state == .active, ending.departures.count == 1 else { return continueDraining() }
        ending.wasIdle = own.queue == nil
        tellShutdown(from: own.first)
        // Somebody has work under way.
        if own.state == .active { ending.wasIdle = false }
    }

    /// To the next handler from `start` on that wants to know; behind the last one the channel closes.
    func tellShutdown(from start: PipelineLink) {
        let isTold = start.call(.shutdown) { $0.handler.shutdownBegan($0) }
        // The shutdown's own deadline limits it.
        if !isTold, own.state == .active { drain(within: nil) }
    }

    private func tellDepartures(of ending: ChannelEnding?) {
        guard let ending, !ending.departures.isEmpty else { return }
        var report = ShutdownReport()
        if ending.wasCutOff {
            report.channelsCutOff = 1
            report.bytesDropped = ending.bytesDropped
        } else if ending.wasIdle {
            report.channelsIdle = 1
        } else {
            report.channelsFinished = 1
        }
        let departures = ending.departures
        ending.departures = []
        for departure in departures { departure.left(report) }
    }

    // MARK: Closing

    /// The last step: the descriptor is closed when nothing of the kernel's is under way any more. The peer gets the end of
    /// stream only if everything that was accepted is the kernel's, and a reset otherwise.
    func tearDown(resetting: Bool) {
        eventLoop.assertOnLoop()
        guard own.state != .closing, own.state != .closed else { return }
        noteEnd()
        let hasHole = own.ending?.isBroken == true || (own.queue?.unsentBytes ?? 0) > 0
        let resets = resetting || hasHole
        own.state = .closing
        levels.close()
        dropHeld()
        own.ending?.look?.disarm(on: eventLoop)
        own.ending?.look = nil
        guard let slot else { return }
        if resets {
            ct_slot_reset(eventLoop.core, slot)
        } else {
            if configuration.lingers { _ = ct_socket_set_linger(slot.pointee.fd, false, 0) }
            ct_slot_close(eventLoop.core, slot)
            // Until then the kernel may read memory of ours on behalf of a peer that reads nothing.
            if own.zeroCopy?.isOutstanding == true { limitEnd(to: CloseMode.gracefulTime) }
        }
        refuseWaiting()
        failQueue()
    }

    /// The descriptor is closed; the slot is somebody else's.
    func finishClose() {
        eventLoop.assertOnLoop()
        guard let slot, own.state == .closing else { return }
        own.state = .closed
        self.slot = nil
        own.ending?.timer?.disarm(on: eventLoop)
        own.ending?.timer = nil
        failQueue()
        // Nobody hears of a write behind the end.
        eventLoop.tellCompletions()
        if own.writing.isListed { eventLoop.own.dirty.remove(self) }
        if own.reading.isListed { eventLoop.own.readers.remove(self) }
        eventLoop.own.channels.remove(at: Int(slot.pointee.index))
        if own.reading.wasActive { own.first.call(.inactive) { $0.handler.channelInactive($0) } }
        pipeline.removeAll()
        let ending = own.ending
        own.ending = ending?.cause == nil ? nil : ending
        ending?.onClosed?()
        ending?.onClosed = nil
        ending?.connected = nil
        let waiters = ending?.waiters ?? []
        ending?.waiters = []
        for waiter in waiters { waiter.resume() }
        tellDepartures(of: ending)
        eventLoop.descriptorFreed()
        ChannelReference(self).release()
    }
}

/// What a channel says of itself through ``ChannelHandler/userEvent(_:_:)``.
public enum ChannelNotice: Sendable, Hashable {
    /// ``Channel/shutdownOutput()`` is done: the peer gets the end of stream, and the channel still reads.
    case outputShutDown
}
