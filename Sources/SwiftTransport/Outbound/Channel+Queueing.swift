internal import CTransport
internal import Glibc
internal import Synchronization

// From a write at the head of the pipeline to an entry in the queue. The loop's thread only.
extension Channel {
    @discardableResult
    func enqueue(_ buffer: Buffer, _ completion: WriteCompletion) -> WriteHandle {
        guard let queue = admit(buffer.count, completion) else { return .stale }
        if buffer.count > eventLoop.own.outboundMemory.copyLimit { return appendShared(buffer, completion, queue) }
        return buffer.withUnsafeBytes { appendCopy($0, completion, queue) }
    }

    /// Lent bytes: those worth it are sent from the receive memory itself, and those of a buffer from where they are.
    func enqueue(lent bytes: borrowing ReadBytes, _ completion: WriteCompletion) -> WriteHandle {
        guard let queue = admit(bytes.count, completion) else { return .stale }
        if bytes.count
            <= (bytes.chunk == nil
                ? eventLoop.own.outboundMemory.copyLimit : eventLoop.own.outboundMemory.lentCopyLimit)
        {
            return appendCopy(UnsafeRawBufferPointer(start: bytes.start, count: bytes.count), completion, queue)
        } else if let chunk = bytes.chunk, ct_chunk_is_worth_sharing(chunk, UInt64(bytes.count)) {
            ct_chunk_retain(chunk)
            return append(OutboundEntry(bytes.start, bytes.count, OutboundOwner.chunk(chunk), completion), queue)
        } else {
            return appendShared(Buffer(bytes), completion, queue)
        }
    }

    func enqueueCopy(_ bytes: UnsafeRawBufferPointer, _ completion: WriteCompletion) -> WriteHandle {
        if bytes.count > eventLoop.own.outboundMemory.copyLimit { return enqueue(Buffer(copying: bytes), completion) }
        guard let queue = admit(bytes.count, completion) else { return .stale }
        return appendCopy(bytes, completion, queue)
    }

    func enqueue(_ file: FileRegion, _ completion: WriteCompletion) -> WriteHandle {
        guard let queue = admit(FileRegion.weight(of: file.count), completion) else { return .stale }
        // Its bytes are nowhere yet; what stands for them only must not be nil.
        let entry = OutboundEntry(queue.address, file.count, OutboundOwner.object(file), completion, isFile: true)
        return append(entry, queue)
    }

    /// A message that reached the head of the pipeline without becoming bytes (W7).
    func refuseMessage(_ completion: WriteCompletion) {
        guard own.lifecycle.takesWrites else { return refuse(0, completion) }
        let error = TransportError(.unencodableMessage)
        eventLoop.tellRefusal(completion, error)
        if completion.isNone { breakOff(error) }
    }

    // MARK: Admission

    /// The queue, if the channel takes a write of `count` bytes; otherwise the write has been completed with the reason.
    @inline(__always)
    private func admit(_ count: Int, _ completion: WriteCompletion) -> OutboundQueue? {
        let size = count &+ WaterMark.entryOverhead.bytes
        if !takes(size), !takesNow(size) {
            refuse(size, completion)
            return nil
        }
        if let queue = own.queue { return queue }
        let fresh = eventLoop.own.outboundMemory.takeQueue()
        own.queue = fresh
        return fresh
    }

    @inline(__always)
    private func takes(_ size: Int) -> Bool {
        let pending = levels.pending
        return own.lifecycle.takesWrites && (pending == 0 || pending &+ size <= levels.hardLimit)
            && !eventLoop.own.outbound.wouldExceed(size, holding: pending)
    }

    /// The same once what is flushed has been sent, or for a write that has waited for its turn.
    @inline(never)
    func takesNow(_ size: Int) -> Bool {
        guard own.lifecycle.takesWrites else { return false }
        sendAhead()
        return takes(size) || own.writing.isAdmitted
    }

    /// Whether several writes that make sense only together, with `count` bytes in all, are taken. `nil`: they are not, and whoever waits has
    /// been told why.
    func admit(_ count: Int, writes: Int, _ promise: consuming WritePromise) -> WritePromise? {
        let size = count &+ writes &* WaterMark.entryOverhead.bytes
        guard takes(size) || takesNow(size) else {
            refuse(promise.take(), refusal(size))
            return nil
        }
        return promise
    }

    /// What is written until ``endAdmitted(_:)`` is taken: it is a part of something that was.
    func beginAdmitted() -> Bool {
        defer { own.writing.isAdmitted = true }
        return own.writing.isAdmitted
    }

    func endAdmitted(_ outer: Bool) { own.writing.isAdmitted = outer }

    /// A write that nobody waits for must not vanish from the middle of a stream: it ends the channel, as the policy may ask
    /// for at a limit in any case.
    @inline(never)
    private func refuse(_ size: Int, _ completion: WriteCompletion) { refuse(completion, refusal(size)) }

    func refuse(_ completion: WriteCompletion, _ error: TransportError) {
        let policy: WaterMark.Overflow
        switch error.code {
        case .outboundQueueFull: policy = configuration.overflow
        case .loopBudgetExhausted: policy = eventLoop.options.atOutboundBudget
        default: return eventLoop.tellRefusal(completion, error)
        }
        eventLoop.own.outbound.refused += 1
        eventLoop.tellRefusal(completion, error)
        if completion.isNone || policy == .closeChannel {
            eventLoop.own.outbound.closed += 1
            breakOff(error)
        }
    }

    func refusal(_ size: Int) -> TransportError {
        switch own.lifecycle.phase {
        case .opening: TransportError(.notYetConnected)
        case .open, .inputEnded:
            TransportError(levels.pending &+ size > levels.hardLimit ? .outboundQueueFull : .loopBudgetExhausted)
        case .outputEnding, .outputEndingInputEnded, .outputEnded, .bothEnded: TransportError(.outputShutDown)
        case .draining, .drainingInputEnded, .breaking, .awaitingPeer, .delivering, .closing, .resetting, .closed:
            .closed(by: own.ending?.cause)
        }
    }

    // MARK: Appending

    @inline(__always)
    private func appendCopy(
        _ bytes: UnsafeRawBufferPointer, _ completion: WriteCompletion, _ queue: OutboundQueue
    ) -> WriteHandle {
        guard let base = bytes.baseAddress, bytes.count > 0 else {
            // Nothing to send, but a promise to keep in its turn (W25).
            return append(OutboundEntry(queue.address, 0, OutboundOwner.nobody, completion), queue)
        }
        let (start, owner) = queue.copy(base, bytes.count, &eventLoop.own.outboundMemory)
        return append(OutboundEntry(start, bytes.count, owner, completion), queue)
    }

    /// Sent from where it is. It has bytes: others are copied.
    @inline(__always)
    private func appendShared(
        _ buffer: Buffer, _ completion: WriteCompletion, _ queue: OutboundQueue
    ) -> WriteHandle {
        guard let start = buffer.start else {
            return append(OutboundEntry(queue.address, 0, OutboundOwner.nobody, completion), queue)
        }
        let owner = buffer.owner.map { OutboundOwner.object($0) } ?? OutboundOwner.nobody
        return append(OutboundEntry(start, buffer.count, owner, completion), queue)
    }

    @inline(__always)
    private func append(_ entry: OutboundEntry, _ queue: OutboundQueue) -> WriteHandle {
        queue.append(entry)
        noteWrite()
        let handle = own.nextHandle
        own.nextHandle = handle.advanced(by: 1)
        // Counted after the entry is linked (W9).
        count(entry.weight &+ WaterMark.entryOverhead.bytes)
        // What is flushed has its chance to leave before the channel is called unwritable.
        if levels.pending > levels.high { sendAhead() }
        return handle
    }

    /// Changes what is pending, on the channel and on its loop.
    @inline(__always)
    func count(_ bytes: Int) {
        levels.add(bytes)
        eventLoop.own.outbound.pending &+= bytes
        assert(levels.pending >= 0 && levels.pending <= eventLoop.own.outbound.pending)
    }

    // MARK: Cancelling

    /// The handle of a write that went through other handlers: that of the newest entry, if it carries this very promise.
    func passedOn(_ completion: WriteCompletion) -> WriteHandle {
        guard !completion.isNone, let newest = own.queue?.newest, newest.completion.isSame(as: completion) else {
            return .stale
        }
        return own.nextHandle.advanced(by: -1)
    }

    func cancelQueued(_ handle: WriteHandle) -> Bool {
        guard let place = place(of: handle) else { return false }
        return takeBack(place.index, of: place.queue, from: place.queue.flushedCount)
    }

    /// For a task that no longer waits for its flushed write: takes it back if the kernel has not begun with it, else the
    /// channel ends, because the rest of it would never come. Returns who would have been told; `nil`: it is over already.
    func giveUp(_ handle: WriteHandle) {
        guard let (queue, index) = place(of: handle) else { return }
        let begun = own.writing.inFlight ? queue.gatheredCount : queue.headOffset > 0 ? 1 : 0
        if takeBack(index, of: queue, from: begun) { return }
        let waiting = queue.forget(index)
        guard !waiting.isNone else { return }
        let error = TransportError(.cancelled, call: .send)
        let ending = ensureEnding()
        if ending.cause == nil { ending.cause = error }
        eventLoop.own.completions.append(waiting, error)
        end(resetting: true)
        eventLoop.tellCompletions()
    }

    private func place(of handle: WriteHandle) -> (queue: OutboundQueue, index: Int)? {
        guard let queue = own.queue,
            let index = own.nextHandle.advanced(by: -queue.count).distance(to: handle), index < queue.count
        else { return nil }
        return (queue, index)
    }

    private func takeBack(_ index: Int, of queue: OutboundQueue, from first: Int) -> Bool {
        guard let entry = queue.cancel(index, from: first) else { return false }
        // The place of the entry, and with it its overhead, stays until the queue gets there.
        count(-entry.weight)
        OutboundOwner.release(entry.owner, to: &eventLoop.own.outboundMemory)
        entry.completion.complete(TransportError(.cancelled, call: .send))
        updateWritability()
        admitWaiting()
        return true
    }
}

extension EventLoop {
    /// How deep refusals may nest: a completion that answers each failure with another write must not use up the stack.
    private static let refusalDepth = 16

    /// At once, as every refusal; deeper down when its turn comes in the mailbox, behind everybody else's work. A loop that
    /// has ended has no mailbox, and who writes on and on to it is not told any more.
    fileprivate func tellRefusal(_ completion: WriteCompletion, _ error: TransportError) {
        if own.outbound.refusalsUnderWay < Self.refusalDepth {
            own.outbound.refusalsUnderWay += 1
            completion.complete(error)
            own.outbound.refusalsUnderWay -= 1
        } else if own.phase != .ended {
            post(LateCompletion(completion, error))
        }
    }
}

/// What a loop's channels have queued altogether, and what happened at the limit. The loop's thread only.
struct OutboundBudget {
    var pending = 0
    var refusalsUnderWay = 0
    var refused: UInt64 = 0
    var closed: UInt64 = 0
    let limit: Int

    /// A channel that has nothing queued may always queue one write, or it would never get on.
    @inline(__always)
    func wouldExceed(_ size: Int, holding own: Int) -> Bool { pending &+ size > limit && own > 0 }
}
