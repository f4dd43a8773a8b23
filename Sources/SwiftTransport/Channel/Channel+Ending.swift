internal import CTransport
internal import Glibc

// What the lifecycle says is done here. The order of an end is always: no more writes, the last completion of the kernel, every
// queued write told, the descriptor closed, `channelInactive`, handlers removed, whoever awaits the close.
extension Channel {
    /// The phase has changed already. Handlers may be called, and they may bring about the next event.
    func perform(_ action: ChannelLifecycle.Action) {
        switch action {
        case .tellInputEnded: tellInputEnded()
        case .flushAndEndOutput: flushAndEndOutput()
        case .endOutput: endOutput()
        case .drain: drain()
        case .stopTaking: stopTaking()
        case .goOn: goOn()
        case .endOutputAndAwaitPeer:
            sendEndOfStream()
            awaitPeer()
        case .awaitPeer: awaitPeer()
        case .awaitDelivery: awaitDelivery()
        case .tellShutdown: tellShutdown(from: own.first)
        case .tearDown: tearDown()
        case .cutOff: tearDownUnfinished()
        case .reset: if let slot { ct_slot_reset(eventLoop.core, slot) }
        case .finish: finish()
        case .activate, .limit, .nothing, .impossible: break
        }
    }

    // MARK: One direction

    private func tellInputEnded() {
        own.first.call(.inputClosed) { $0.handler.inputClosed($0) }
        guard own.lifecycle.isActive else { return }
        guard configuration.allowsHalfClosure, own.lifecycle.takesWrites else { return closeNow(.graceful) }
        // While nothing is sent, nothing else tells that the connection is lost.
        guard let slot else { return }
        let result = ct_loss_watch(eventLoop.core, slot)
        if result < 0 { fail(TransportError(call: .receive, errno: -result)) }
    }

    private func flushAndEndOutput() {
        refuseWaiting()
        own.queue?.flush()
        goOn()
    }

    private func endOutput() {
        if sendEndOfStream() { own.first.call(.userEvent) { $0.handler.userEvent($0, ChannelNotice.outputShutDown) } }
    }

    /// False when the connection is gone. Whoever reads is told why, behind the bytes that came before.
    @discardableResult
    private func sendEndOfStream() -> Bool {
        guard let slot else { return false }
        let result = ct_socket_shutdown_output(slot.pointee.fd)
        tellOutputEnd(result == 0 ? nil : TransportError(call: .shutdown, errno: -result))
        return result == 0
    }

    // MARK: Draining

    private func drain() {
        stopTaking()
        own.queue?.flush()
        goOn()
    }

    /// Neither writes nor bytes from the peer are taken any more.
    private func stopTaking() {
        levels.close()
        let hasKeptEnd = own.held?.end != nil
        own.held = nil
        if hasKeptEnd {
            // Behind bytes that have no reader any more: the end counts all the same.
            perform(own.lifecycle.on(.inputEnded))
        } else if own.lifecycle.isInputOpen || own.lifecycle.phase == .breaking, let slot {
            // Whoever held reading back, or still had to hand out what was held: the peer may read only when it is read from.
            _ = ct_receive_start(eventLoop.core, slot)
        }
        refuseWaiting()
    }

    /// One step further on the way to an end, if the channel is on one: the queue, then the end of stream, then the peer's.
    func goOn() {
        guard own.lifecycle.sends else { return }
        let waitsForAll = own.lifecycle.phase != .breaking && own.lifecycle.phase != .delivering
        if let queue = own.queue, waitsForAll || queue.hasFlushed { return listDirty() }
        let action = own.lifecycle.on(.sent)
        perform(action)
        // Closing is the end of stream.
        if action == .tearDown { tellOutputEnd(nil) }
    }

    private func awaitPeer() {
        guard own.lifecycle.phase == .awaitingPeer, let slot else { return }
        // Also when reading was held back: the peer's end must be seen.
        if ct_receive_start(eventLoop.core, slot) < 0 { return end(resetting: false) }
        // Nobody who leaves waits for a peer that has everything and says nothing.
        if own.ending?.departures.isEmpty == false { awaitDelivery() }
    }

    /// How long to wait before looking again: what is under way to a peer that reads takes a round trip.
    private static let firstLook: Duration = .milliseconds(1)
    private static let longestLook: Duration = .milliseconds(50)

    /// Closes once the peer's kernel has everything that ours accepted: a reset destroys what is still under way. The
    /// deadline of the end bounds it.
    private func awaitDelivery(after pause: Duration = Channel.firstLook) {
        guard own.lifecycle.phase == .delivering || own.lifecycle.phase == .awaitingPeer, let slot else { return }
        let ending = ensureEnding()
        guard ending.look == nil else { return }
        if ct_socket_unsent(slot.pointee.fd) <= 0 { return perform(own.lifecycle.on(.delivered)) }
        let look = CallbackTimer { [unowned self] in
            self.own.ending?.look = nil
            self.awaitDelivery(after: min(pause * 2, Channel.longestLook))
        }
        ending.look = look
        let next = eventLoop.turnTime.advanced(by: pause)
        // Without a timer there is no later.
        do throws(TransportError) { try look.arm(on: eventLoop, at: next) } catch { cutOff(by: error) }
    }

    // MARK: Closing

    private func tearDownUnfinished() {
        let ending = ensureEnding()
        ending.wasCutOff = true
        if ending.cause == nil { ending.cause = TransportError(.timedOut) }
        tearDown()
    }

    /// The last step: the descriptor is closed when nothing of the kernel's is under way any more.
    private func tearDown() {
        levels.close()
        own.held = nil
        own.ending?.look?.disarm(on: eventLoop)
        own.ending?.look = nil
        own.ending?.opening?.cancel()
        // One that was never connected has no descriptor to wait for.
        guard let slot else { return perform(own.lifecycle.on(.released)) }
        if own.lifecycle.phase == .resetting {
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

    /// The descriptor is closed, the slot somebody else's; or there never was one.
    private func finish() {
        eventLoop.assertOnLoop()
        let slot = self.slot
        self.slot = nil
        own.ending?.timer?.disarm(on: eventLoop)
        own.ending?.timer = nil
        failQueue()
        letGoOfZeroCopies()
        tellOutputEnd(.closed(by: own.ending?.cause))
        // Nobody hears of a write behind the end.
        eventLoop.tellCompletions()
        if own.writing.isListed { eventLoop.own.dirty.remove(self) }
        if own.reading.isListed { eventLoop.own.readers.remove(self) }
        if let slot {
            eventLoop.own.channels.remove(at: Int(slot.pointee.index))
        } else {
            eventLoop.own.unconnected.remove(self)
        }
        if own.lifecycle.hasBeenActive { own.first.call(.inactive) { $0.handler.channelInactive($0) } }
        pipeline.removeAll()
        if own.idlePlace >= 0 { eventLoop.unwatchIdle(.channel(ChannelReference(self))) }
        tellClosed()
        guard slot != nil else { return }
        eventLoop.descriptorFreed()
        ChannelReference(self).release()
    }

    private func tellClosed() {
        own.groups.take()?.leave(self)
        guard let ending = own.ending else { return }
        // The cause stays: later refusals carry it.
        if ending.cause == nil { own.ending = nil }
        ending.onClosed?()
        ending.onClosed = nil
        // It closed before it was active.
        if let opening = ending.opening.take() { endOpening(opening) }
        let waiters = ending.waiters
        ending.waiters = []
        for waiter in waiters { waiter() }
        tellDepartures(of: ending)
    }
}

/// What a channel says of itself through ``ChannelHandler/userEvent(_:_:)``.
public enum ChannelNotice: Sendable, Hashable {
    /// ``Channel/shutdownOutput(promise:)`` is done: the peer gets the end of stream, and the channel still reads.
    case outputShutDown
}
