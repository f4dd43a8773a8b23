internal import CTransport
internal import Synchronization
#if canImport(Glibc)
internal import Glibc
#endif

// The way out: from a write at the head of the pipeline to the kernel, and back to whoever waits. The loop's thread only.
extension Channel {
    /// Buffers up to this size are copied behind each other instead of being sent from where they are.
    private static let copyLimit = 1024
    /// What one gathering send takes at most.
    private static let vectorsPerSend = 64
    private static let bytesPerSend = 1 << 20

    // MARK: Queueing

    @discardableResult
    func enqueue(_ buffer: Buffer, _ completion: WriteCompletion) -> WriteHandle {
        guard let queue = admit(buffer.count, completion) else { return WriteHandle(sequence: .max) }
        guard buffer.count > Self.copyLimit, let storage = buffer.storage, let start = buffer.start else {
            return buffer.withUnsafeBytes { appendCopy($0, completion, queue) }
        }
        let owner = OutboundOwner.storage(.passRetained(storage))
        return append(start, buffer.count, owner, completion, queue)
    }

    func enqueue(lent bytes: borrowing ReadBytes, _ completion: WriteCompletion) {
        guard let queue = admit(bytes.count, completion) else { return }
        if bytes.count < ReadBytes.shareThreshold.bytes {
            _ = appendCopy(UnsafeRawBufferPointer(start: bytes.start, count: bytes.count), completion, queue)
        } else if let chunk = bytes.chunk, !ct_chunk_is_scarce(chunk) {
            ct_chunk_retain(chunk)
            _ = append(bytes.start, bytes.count, OutboundOwner.chunk(chunk), completion, queue)
        } else {
            let buffer = bytes.take()
            guard let storage = buffer.storage, let start = buffer.start else { return }
            _ = append(start, buffer.count, OutboundOwner.storage(.passRetained(storage)), completion, queue)
        }
    }

    func enqueueCopy(_ bytes: UnsafeRawBufferPointer, _ completion: WriteCompletion) {
        if bytes.count > Self.copyLimit {
            enqueue(Buffer(copying: bytes), completion)
        } else if let queue = admit(bytes.count, completion) {
            _ = appendCopy(bytes, completion, queue)
        }
    }

    /// The queue, if the channel takes a write of `count` bytes; otherwise the write has been completed with the reason.
    @inline(__always)
    private func admit(_ count: Int, _ completion: WriteCompletion) -> Unmanaged<OutboundQueue>? {
        let size = count &+ WaterMark.entryOverhead.bytes
        let pending = levels.pending
        if state != .active || writing.isShutDown || (pending > 0 && pending &+ size > configuration.waterMark.hardLimit.bytes) {
            refuse(completion)
            return nil
        }
        if let queue { return queue }
        let fresh = eventLoop.outboundMemory.takeQueue()
        queue = fresh
        return fresh
    }

    /// A write that nobody waits for must not vanish from the middle of a stream: at the hard limit it ends the channel.
    @inline(never)
    private func refuse(_ completion: WriteCompletion) {
        let error = refusal
        if completion.kind == .none, error.code == .outboundQueueFull { fail(error) } else { completion.complete(error) }
    }

    private var refusal: TransportError {
        switch state {
        case .opening: TransportError(.closed, call: .connect)
        case .active: TransportError(writing.isShutDown ? .outputShutDown : .outboundQueueFull)
        case .draining, .closing, .closed: .closed(by: ending?.cause)
        }
    }

    @inline(__always)
    private func appendCopy(
        _ bytes: UnsafeRawBufferPointer, _ completion: WriteCompletion, _ queue: Unmanaged<OutboundQueue>
    ) -> WriteHandle {
        guard let base = bytes.baseAddress, bytes.count > 0 else {
            return append(UnsafeRawPointer(queue.toOpaque()), 0, OutboundOwner.nobody, completion, queue)
        }
        let (start, owner) = queue._withUnsafeGuaranteedRef { $0.copy(base, bytes.count, &eventLoop.outboundMemory) }
        return append(start, bytes.count, owner, completion, queue)
    }

    @inline(__always)
    private func append(
        _ start: UnsafeRawPointer, _ count: Int, _ owner: UInt, _ completion: WriteCompletion,
        _ queue: Unmanaged<OutboundQueue>
    ) -> WriteHandle {
        let entry = OutboundEntry(
            start: start, count: count, owner: owner, completion: completion.word, tag: completion.tag,
            completionKind: completion.kind, isCancelled: false, wantsProgress: false)
        queue._withUnsafeGuaranteedRef { $0.append(entry) }
        let handle = WriteHandle(sequence: nextSequence)
        nextSequence &+= 1
        // Counted after the entry is linked (W9).
        levels.add(count &+ WaterMark.entryOverhead.bytes)
        if levels.pending > configuration.waterMark.high.bytes { updateWritability() }
        return handle
    }

    func cancelQueued(_ handle: WriteHandle) -> Bool {
        guard let queue = queue?.takeUnretainedValue(), handle.sequence < nextSequence else { return false }
        let first = nextSequence &- UInt64(queue.count)
        guard handle.sequence >= first, let entry = queue.cancel(Int(handle.sequence &- first)) else { return false }
        // The place of the entry, and with it its overhead, stays until the queue gets there.
        levels.add(-entry.count)
        OutboundOwner.release(entry.owner, to: &eventLoop.outboundMemory)
        WriteCompletion(kind: entry.completionKind, word: entry.completion, tag: entry.tag)
            .complete(TransportError(.cancelled))
        updateWritability()
        return true
    }

    // MARK: Sending

    func flushQueue() {
        guard let queue, state == .active else { return }
        queue._withUnsafeGuaranteedRef { $0.flush() }
        listDirty()
    }

    @inline(__always)
    func listDirty() {
        guard !writing.isListed, !writing.inFlight else { return }
        writing.isListed = true
        eventLoop.dirty.append(self)
    }

    /// End of the turn: what is flushed goes to the kernel, one send per channel.
    func sendQueued() {
        writing.isListed = false
        guard !writing.inFlight, state == .active || state == .draining, let slot, let queue else { return }
        let result = queue._withUnsafeGuaranteedRef { queue -> Int32 in
            guard queue.hasFlushed else { return 0 }
            return withUnsafeTemporaryAllocation(of: iovec.self, capacity: Self.vectorsPerSend) { vectors -> Int32 in
                guard let base = vectors.baseAddress else { return -ENOMEM }
                let count = queue.gather(base, limit: Self.vectorsPerSend, bytes: Self.bytesPerSend)
                return count == 0 ? 1 : ct_send(eventLoop.core, slot, base, UInt32(count))
            }
        }
        switch result {
        case 0: writing.inFlight = queue._withUnsafeGuaranteedRef { $0.hasFlushed }
        case 1: complete(bytes: 0)  // nothing but empty and cancelled writes: their turn has come
        default: fail(TransportError(call: .send, errno: -result))
        }
    }

    func sent(_ event: ct_event) {
        writing.inFlight = false
        if event.result >= 0 {
            complete(bytes: Int(event.result))
        } else if event.result != -EAGAIN {
            if state == .closing { failQueue() } else { fail(TransportError(call: .send, errno: -event.result)) }
            return
        }
        if let queue, state == .active || state == .draining, queue._withUnsafeGuaranteedRef({ $0.hasFlushed }) {
            listDirty()
        } else if state == .closing {
            failQueue()
        }
    }

    /// The kernel took `bytes`: walks the queue once. Each entry leaves the queue before its completion is told, because
    /// what is told may write, flush or close.
    private func complete(bytes: Int) {
        guard let queue, !writing.isCompleting else { return }
        writing.isCompleting = true
        levels.add(-bytes)
        var left = bytes
        while queue._withUnsafeGuaranteedRef({ $0.hasFlushed }) {
            let (taken, isFinished) = queue._withUnsafeGuaranteedRef { $0.advanceHead(left) }
            left &-= taken
            guard isFinished else { break }
            let entry = queue._withUnsafeGuaranteedRef { $0.removeFirst() }
            levels.add(-WaterMark.entryOverhead.bytes)
            OutboundOwner.release(entry.owner, to: &eventLoop.outboundMemory)
            if entry.completionKind != .none {
                WriteCompletion(kind: entry.completionKind, word: entry.completion, tag: entry.tag).complete(nil)
            }
        }
        writing.isCompleting = false
        giveBackIfEmpty()
        if levels.flags != 0 { updateWritability() }
        if state != .active || writing.isShutDown { completedWhileEnding() }
    }

    /// What a completion may have asked for while the queue was being walked, or what waited for an empty queue.
    private func completedWhileEnding() {
        switch state {
        case .active: if queue == nil { finishOutput() }
        case .draining: continueDraining()
        case .closing: failQueue()
        case .opening, .closed: break
        }
    }

    @inline(__always)
    private func giveBackIfEmpty() {
        guard let queue, queue._withUnsafeGuaranteedRef({ $0.isEmpty }) else { return }
        queue._withUnsafeGuaranteedRef { $0.releaseBlock(&eventLoop.outboundMemory) }
        eventLoop.outboundMemory.giveBack(queue)
        self.queue = nil
    }

    // MARK: Failing

    /// Fails everything that is queued. Only when no send is in flight: until then the memory is the kernel's, and what
    /// it took is still a success (netty#17238).
    func failQueue() {
        guard !writing.inFlight, !writing.isCompleting, !writing.isFailing, let queue else { return }
        writing.isFailing = true
        let error = TransportError.closed(by: ending?.cause)
        while !queue._withUnsafeGuaranteedRef({ $0.isEmpty }) {
            let rest = queue._withUnsafeGuaranteedRef { $0.advanceHead(Int.max).taken }
            let entry = queue._withUnsafeGuaranteedRef { $0.removeFirst() }
            levels.add(-(rest &+ WaterMark.entryOverhead.bytes))
            OutboundOwner.release(entry.owner, to: &eventLoop.outboundMemory)
            WriteCompletion(kind: entry.completionKind, word: entry.completion, tag: entry.tag).complete(error)
        }
        writing.isFailing = false
        giveBackIfEmpty()
    }

    // MARK: Writability

    /// Sets or clears the water mark's bit, and tells the handlers if that made a difference (both comparisons are strict).
    private func updateWritability() {
        let flags = levels.flags
        let pending = levels.pending
        var changed = flags
        if pending > configuration.waterMark.high.bytes { changed |= ChannelLevels.waterMark }
        if pending < configuration.waterMark.low.bytes { changed &= ~ChannelLevels.waterMark }
        guard changed != flags else { return }
        levels.setFlags(changed)
        guard (flags == 0) != (changed == 0), state == .active,
            let first = ChannelContext.find(.writabilityChanged, from: firstContext)
        else { return }
        first._withUnsafeGuaranteedRef { $0.handler.channelWritabilityChanged($0) }
    }
}
