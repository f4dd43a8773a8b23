internal import CTransport
internal import Glibc

// From the queue to the kernel, and back to whoever waits. The loop's thread only.
extension Channel {
    /// What one gathering send takes at most.
    static let vectorsPerSend = 64
    private static let bytesPerSend = 1 << 20

    func flushQueue() {
        eventLoop.assertOnLoop()
        guard let queue = own.queue, own.lifecycle.isActive else { return }
        if !queue.hasFlushed { stampOutput() }
        queue.flush()
        listDirty()
        if levels.pending > levels.high { sendAhead() }
    }

    @inline(__always)
    func listDirty() {
        guard !own.writing.isListed, !own.writing.inFlight else { return }
        own.writing.isListed = true
        eventLoop.own.dirty.append(self)
    }

    /// End of the turn: what is flushed goes to the kernel, one send per channel.
    func sendQueued() {
        eventLoop.assertOnLoop()
        own.writing.isListed = false
        own.writing.isFull = false
        if own.writing.owesWritable { tellWritableAgain() }
        if own.waiting != nil { admitWaiting() }
        guard !own.writing.inFlight, own.lifecycle.sends, let slot, let queue = own.queue,
            queue.hasFlushed
        else { return }
        do throws(TransportError) {
            if try send(queue, slot) {
                own.writing.inFlight = true
            } else {
                // Nothing but empty and cancelled writes, perhaps before a file: their turn has come.
                complete(bytes: 0)
                if let queue = own.queue, queue.hasFlushed { listDirty() }
            }
        } catch {
            sendFailed(error)
        }
    }

    /// Sends what is flushed at once instead of at the end of the turn, when the marks or the limit are in the way and the
    /// kernel has nothing of it under way: they speak of a peer that does not read, and not of our own batching. Whoever waits
    /// for these writes is told at the end of the turn, behind those whose writes ended earlier. What it makes of the marks is
    /// seen to, whatever becomes of the write that room was made for.
    @inline(never)
    func sendAhead() {
        sendWhatIsFlushed()
        updateWritabilityAhead()
    }

    private func sendWhatIsFlushed() {
        guard own.lifecycle.takesWrites, !own.writing.inFlight, !own.writing.isFull, let slot else {
            return
        }
        let vectors = eventLoop.vectors
        var left = Self.bytesPerSend
        while left > 0, let queue = own.queue, queue.hasFlushed, !queue.startsWithFile {
            let count = queue.gather(vectors, limit: Self.vectorsPerSend, bytes: left)
            if count > 0, let zeroCopy = own.zeroCopy, zeroCopy.wants(vectors[0].iov_len) { return }
            let bytes = (0..<count).reduce(0) { $0 + vectors[$1].iov_len }
            let sent = count > 0 ? Int(ct_send_now(eventLoop.core, slot, vectors, UInt32(count))) : 0
            // A failure is met again, and told, by the send at the end of the turn.
            own.writing.isFull = sent < bytes
            if sent < 0 { return }
            take(sent, from: queue)
            giveBackIfEmpty()
            if own.writing.isFull { return }
            left -= sent
        }
    }

    /// False when there is nothing to send.
    private func send(
        _ queue: OutboundQueue, _ slot: UnsafeMutablePointer<ct_slot>
    ) throws(TransportError) -> Bool {
        let vectors = eventLoop.vectors
        let count = queue.gather(vectors, limit: Self.vectorsPerSend, bytes: Self.bytesPerSend)
        if count < 0 {
            let file = queue[0].file
            throw TransportError(call: .pread, errno: Int32(-count), subject: file?.name)
        }
        if count == 0 { return false }
        if let zeroCopy = own.zeroCopy, zeroCopy.wants(vectors[0].iov_len),
            !queue.isWindow(vectors[0])
        {
            // Alone: small headers do not belong into a zero-copy vector (netty#16130).
            let result = ct_send_zero_copy(eventLoop.core, slot, vectors, 1, zeroCopy.begin())
            if result < 0 { zeroCopy.failed() }
            try checked(.send, result)
        } else {
            try checked(.send, ct_send(eventLoop.core, slot, vectors, UInt32(count)))
        }
        return true
    }

    func sent(_ event: ct_event) {
        eventLoop.assertOnLoop()
        own.writing.inFlight = false
        if let zeroCopy = own.zeroCopy, zeroCopy.isInFlight, zeroCopy.sent(event) {
            // The kernel would not do it without a copy: the same bytes once more, with one.
            if own.lifecycle.isOver { failQueue() } else { listDirty() }
            return
        }
        if event.result >= 0 {
            complete(bytes: Int(event.result))
        } else if event.result != -EAGAIN {
            sendFailed(TransportError(call: .send, errno: -event.result))
            return
        }
        if let queue = own.queue, own.lifecycle.sends, queue.hasFlushed {
            listDirty()
        } else if own.lifecycle.isOver {
            failQueue()
        }
    }

    /// A file that cannot be read fails its own write, if nothing of it was sent and somebody waits for it; anything else ends
    /// the channel, because the stream would have a hole.
    private func sendFailed(_ error: TransportError) {
        guard error.call == .pread, own.lifecycle.sends else {
            if own.lifecycle.isOver { failQueue() } else { fail(error) }
            return
        }
        if let entry = own.queue?.headUntouched, !entry.completion.isNone {
            drop(entry, error)
            eventLoop.tellCompletions()
            giveBackIfEmpty()
            // No send may follow that would do it.
            updateWritability()
            admitWaiting()
            if own.queue != nil {
                listDirty()
            } else if !own.lifecycle.takesWrites {
                completedWhileEnding()
            }
        } else {
            // What stands behind it is behind the hole.
            own.queue?.unflush()
            breakOff(error)
        }
    }

    // MARK: Completion

    /// The kernel took `bytes`.
    private func complete(bytes: Int) {
        guard let queue = own.queue else { return }
        take(bytes, from: queue)
        eventLoop.tellCompletions()
        giveBackIfEmpty()
        // Memory that is held counts again as a whole, so that there may be more than before.
        if levels.flags != 0 || own.zeroCopy != nil { updateWritability() }
        if own.waiting != nil { admitWaiting() }
        if !own.lifecycle.takesWrites { completedWhileEnding() }
    }

    /// Walks over what is flushed and takes out what is finished. Calls nobody: who waits is told later, in this order.
    private func take(_ bytes: Int, from queue: OutboundQueue) {
        if bytes > 0 { stampOutput() }
        var left = bytes
        while queue.hasFlushed {
            let (taken, isFinished) = queue.advanceHead(left)
            left &-= taken
            guard isFinished else {
                progressed(queue, taken)
                break
            }
            let entry = queue.removeFirst()
            count(-(entry.isFile ? entry.weight : taken) &- WaterMark.entryOverhead.bytes)
            releaseSent(entry)
            if !entry.completion.isNone { eventLoop.own.completions.append(entry.completion, nil) }
        }
        own.zeroCopy?.walked(isPartial: queue.headOffset > 0)
    }

    /// A part of the first write is gone (W20, P2).
    private func progressed(_ queue: OutboundQueue, _ taken: Int) {
        guard taken > 0 else { return }
        let (entry, written) = (queue[0], queue.headOffset)
        if !entry.isFile { count(-taken) }
        if entry.completion.wantsProgress {
            eventLoop.own.completions.append(entry.completion, WriteProgress(written: written, total: entry.count))
        }
    }

    /// Memory that the kernel still reads stays counted: it is what the marks and limits are about.
    @inline(__always)
    private func releaseSent(_ entry: OutboundEntry) {
        if let zeroCopy = own.zeroCopy, zeroCopy.hold(entry.owner, entry.count) { return count(entry.count) }
        OutboundOwner.release(entry.owner, to: &eventLoop.own.outboundMemory)
    }

    @inline(__always)
    private func giveBackIfEmpty() {
        guard let queue = own.queue, queue.isEmpty else { return }
        queue.releaseBlock(&eventLoop.own.outboundMemory)
        eventLoop.own.outboundMemory.giveBack(queue)
        own.queue = nil
    }

    /// What a completion may have asked for while the queue was being walked, or what waited for an empty queue.
    private func completedWhileEnding() {
        if own.lifecycle.isOver { failQueue() } else { goOn() }
    }

    // MARK: Failing

    /// Fails everything that is queued. Only when no send is in flight: until then the memory is the kernel's, and what
    /// it took is still a success (netty#17238).
    func failQueue() {
        eventLoop.assertOnLoop()
        guard !own.writing.inFlight, let queue = own.queue else { return }
        if let ending = own.ending, ending.wasCutOff { ending.bytesDropped += queue.unsentBytes }
        let error = TransportError.closed(by: own.ending?.cause)
        while !queue.isEmpty {
            drop(queue[0], error)
        }
        giveBackIfEmpty()
        eventLoop.tellCompletions()
    }

    /// Takes the first entry out; it ends with `error`.
    private func drop(_ entry: OutboundEntry, _ error: TransportError) {
        guard let queue = own.queue else { return }
        let rest = queue.advanceHead(Int.max).taken
        _ = queue.removeFirst()
        count(-(entry.isFile ? entry.weight : rest) &- WaterMark.entryOverhead.bytes)
        releaseSent(entry)
        if !entry.completion.isNone { eventLoop.own.completions.append(entry.completion, error) }
    }

    // MARK: Zero-copy

    /// The kernel no longer reads the memory of a zero-copy send.
    func notified(_ event: ct_event) {
        guard let zeroCopy = own.zeroCopy else { return }
        let released = zeroCopy.notified(event, &eventLoop.own.outboundMemory)
        guard released > 0 else { return }
        count(-released)
        updateWritability()
        admitWaiting()
    }

    /// The slot is somebody else's: memory of sends whose notification never came is free as well.
    func letGoOfZeroCopies() {
        guard let zeroCopy = own.zeroCopy, zeroCopy.isOutstanding else { return }
        count(-zeroCopy.closed(&eventLoop.own.outboundMemory))
    }
}
