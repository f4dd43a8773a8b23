internal import CTransport
internal import Glibc

// The way in: from an event of the core to the first handler.
extension Channel {
    @inline(__always)
    func received(_ event: ct_event) {
        eventLoop.assertOnLoop()
        if event.result > 0, let data = event.data, let chunk = event.chunk {
            // While closing, bytes are dropped: what the peer still sends has no reader any more.
            if own.lifecycle.isActive {
                let bytes = ReadBytes(start: UnsafeRawPointer(data), count: Int(event.result), chunk: chunk)
                if own.reading.holds.isEmpty, own.held == nil { deliver(bytes) } else { hold(bytes) }
            }
        } else if event.result <= 0, event.result != -EAGAIN {
            endOfInput(event.result)
        }
        if event.flags & UInt16(CT_EVENT_CHUNK_DONE) != 0, let chunk = event.chunk { BufferStorage.finish(chunk) }
    }

    @inline(__always)
    private func deliver(_ bytes: borrowing ReadBytes) {
        own.reading.owesComplete = true
        stampInput()
        if !own.reading.isListed {
            own.reading.isListed = true
            eventLoop.own.readers.append(self)
        }
        let bytes = copy bytes
        own.first.call(.read) { $0.handler.channelRead($0, bytes) }
    }

    /// No more bytes for this channel in this turn. The end of input may have told it already, and left the channel on the
    /// turn's list.
    func completeRead() {
        guard own.reading.owesComplete else { return }
        own.reading.owesComplete = false
        if own.lifecycle.isActive { own.first.call(.readComplete) { $0.handler.channelReadComplete($0) } }
    }

    private func endOfInput(_ result: Int32) {
        // A peer's end stays behind what nobody wants yet: it would close the channel.
        if own.lifecycle.isActive, own.held != nil || (result == 0 && !own.reading.holds.isEmpty) {
            let held = own.held ?? HeldInput()
            own.held = held
            held.end = result
            return
        }
        // The end stays behind the data, and behind its completion: what is asked for there must not close the channel before
        // the end was told.
        if own.lifecycle.isActive { completeRead() }
        if result < 0 {
            fail(TransportError(call: .receive, errno: -result))
            return
        }
        if own.lifecycle.isInputOpen { perform(own.lifecycle.on(.inputEnded)) }
    }

    /// Whether bytes are received as they come. Default true.
    ///
    /// Switched off, nothing more is delivered: what the kernel had received already is kept and comes first when reading is
    /// switched on again, with the end of stream behind it. While it is off the peer's close may go unnoticed.
    ///
    /// One switch among several: bytes come only while nobody holds them back. ``BackPressureHandler``, the task of a
    /// ``Connection`` that has fallen behind, and your own flags (``setReading(_:flag:)``) each have theirs. Any thread.
    public func setAutomaticReading(_ automatic: Bool) {
        onLoop { self.holdReading(!automatic, .automatic) }
    }

    /// Sets or clears one of 15 reasons of your own why nothing should be received for now, such as a rate limit.
    ///
    /// Bytes come when no flag is set and nobody else holds them back. Any thread.
    ///
    /// - Parameters:
    ///   - reading: false sets the flag.
    ///   - index: 1 to 15; another number stops the program, because it is a mistake in it.
    public func setReading(_ reading: Bool, flag index: Int) {
        require((1...15).contains(index), "reading flags are numbered 1 to 15, not \(index)")
        onLoop { self.holdReading(!reading, .user(index)) }
    }

    // What is wanted (holds) and what the kernel has (ct_slot.receive_armed) are kept apart: a completion never changes
    // what is wanted (netty#17049).
    func holdReading(_ isHeld: Bool, _ hold: ReadingHolds) {
        eventLoop.assertOnLoop()
        let before = own.reading.holds
        if isHeld { own.reading.holds.insert(hold) } else { own.reading.holds.remove(hold) }
        guard before.isEmpty != own.reading.holds.isEmpty, own.lifecycle.isActive, own.lifecycle.isInputOpen, let slot
        else {
            return
        }
        if !own.reading.holds.isEmpty {
            ct_receive_stop(eventLoop.core, slot)
            return
        }
        // The peer's silence begins where somebody listens.
        stampInput()
        if own.held != nil {
            scheduleHeld()
        } else {
            startReceiving(slot)
        }
    }

    func startReceiving(_ slot: UnsafeMutablePointer<ct_slot>) {
        let result = ct_receive_start(eventLoop.core, slot)
        if result < 0 { fail(TransportError(call: .receive, errno: -result)) }
    }

    // MARK: What came while reading was off

    private func hold(_ bytes: borrowing ReadBytes) {
        let held = own.held ?? HeldInput()
        own.held = held
        held.input.append(bytes)
        // Between switching on and delivering, the kernel may still hand over what the stop came too late for.
        if own.reading.holds.isEmpty { scheduleHeld() }
    }

    /// Not at once: reading is often switched on from within an event of this very channel.
    private func scheduleHeld() {
        guard let held = own.held, !held.isScheduled else { return }
        held.isScheduled = true
        eventLoop.post(ClosureWork { _ in self.deliverHeld() })
    }

    private func deliverHeld() {
        guard let held = own.held else { return }
        held.isScheduled = false
        while own.lifecycle.isActive, own.reading.holds.isEmpty {
            guard let buffer = held.input.removeFirst() else {
                finishHeld(held)
                return
            }
            deliver(ReadBytes(lending: buffer))
        }
        // The work of a turn comes behind its reads.
        completeRead()
    }

    private func finishHeld(_ held: HeldInput) {
        own.held = nil
        completeRead()
        guard own.lifecycle.isActive, own.lifecycle.isInputOpen else { return }
        if let end = held.end {
            endOfInput(end)
        } else if own.reading.holds.isEmpty, let slot {
            startReceiving(slot)
        }
    }
}
