internal import CTransport

// The turn: one call into C, a walk over the events, then what they caused.
extension EventLoop {
    /// Events a turn handles at most; the rest waits in the completion queue.
    static let eventsPerTurn = 512
    /// Pieces of work and jobs a turn always runs before connections get their turn again.
    static let workPerTurn = 256

    /// What a loop keeps from turn to turn.
    struct Turns {
        let events = UnsafeMutablePointer<ct_event>.allocate(capacity: EventLoop.eventsPerTurn)
        let messages = UnsafeMutablePointer<ct_message>.allocate(capacity: EventLoop.workPerTurn)
        var spinEnd: UInt64 = 0
        var workLeft = false

        func deallocate() {
            events.deallocate()
            messages.deallocate()
        }
    }

    /// The body of the loop's thread. Returns when the loop has shut down.
    func runUntilShutDown() {
        assertOnLoop()
        var turns = Turns()
        while !hasFinished { takeTurn(&turns) }
        finish(turns.messages)
        turns.deallocate()
    }

    @inline(__always)
    func takeTurn(_ turns: inout Turns) {
        let isBusy = turns.workLeft || own.dirty.count > 0 || own.completions.count > 0
        let deadline = isBusy || ct_loop_now(core) < turns.spinEnd ? 0 : UInt64.max
        let count = ct_loop_run_once(core, deadline, turns.events, UInt32(Self.eventsPerTurn))
        own.stamp = IdleTime.units(ct_loop_now(core))
        beginLap()
        for index in 0..<Int(count) {
            dispatch(turns.events[index])
            endLap(turns.events[index])
        }
        if own.readers.count > 0 { completeReads() }
        turns.workLeft = runWork(turns.messages)
        tellCompletions()
        endLap("the completion of a write")
        if own.dirty.count > 0 { flushDirty() }
        noteEndOfTurn()
        if !own.removedContexts.isEmpty { releaseRemovedContexts() }
        // Busy polling, when asked for: after something happened, the next turns do not sleep.
        if options.spinNanoseconds > 0, count > 0 { turns.spinEnd = ct_loop_now(core) &+ options.spinNanoseconds }
    }

    private func dispatch(_ event: ct_event) {
        guard let context = event.context else { return }
        switch event.kind {
        case CT_EVENT_RECEIVE:
            // Only channels receive and send.
            ChannelReference(context).with { $0.received(event) }
        case CT_EVENT_SEND:
            ChannelReference(context).with { $0.sent(event) }
        case CT_EVENT_TIMER:
            guard let taken = ct_timer_take(core, event.token) else { return }
            LoopTimer.taken(taken).fire()
        case CT_EVENT_NOTIFICATION:
            ChannelReference(context).with { $0.notified(event) }
        case CT_EVENT_CONNECT:
            ChannelReference(context).with { $0.connectEnded(event) }
        case CT_EVENT_ACCEPT:
            ListenerReference(context).with { $0.accepted(event) }
        case CT_EVENT_CLOSED:
            EndpointReference<AnyObject>(context).either?.descriptorClosed()
        default: break
        }
    }

    private func completeReads() {
        var index = 0
        while index < own.readers.count {
            own.readers[index].with { channel in
                channel.own.reading.isListed = false
                channel.completeRead()
                endLap(channel)
            }
            index &+= 1
        }
        own.readers.removeAll()
    }

    /// Runs what was posted. When there is a lot of it, it gets as long as the turn has taken until then: one event elsewhere may
    /// post a thousand pieces, and while events here are as heavy, a fixed number a turn would never catch up. True when there
    /// is more to do.
    private func runWork(_ messages: UnsafeMutablePointer<ct_message>) -> Bool {
        guard runSomeWork(messages) else { return false }
        let now = ct_clock_now()
        let end = now &+ (now &- ct_loop_now(core))
        while ct_clock_now() < end {
            guard runSomeWork(messages) else { return false }
        }
        return true
    }

    private func runSomeWork(_ messages: UnsafeMutablePointer<ct_message>) -> Bool {
        let count = Int(ct_mailbox_take(core, messages, UInt32(Self.workPerTurn)))
        for index in 0..<count {
            let message = messages[index]
            guard let word = message.word, let kind = LoopMessage(rawValue: message.kind) else { continue }
            switch kind {
            case .work: LoopMessage.takeWork(word).run(on: self)
            case .serialJob, .taskJob: runJob(kind, word)
            }
            endLap(kind == .work ? "work given to the loop" : "a task on the loop")
        }
        return count == Self.workPerTurn
    }

    /// Who is told meanwhile that a write is over may write and flush again: that has time until the next turn, or a writer
    /// of empty buffers would never let the others have theirs.
    private func flushDirty() {
        let count = own.dirty.count
        for index in 0..<count {
            own.dirty[index].with { channel in
                channel.sendQueued()
                endLap(channel)
            }
        }
        own.dirty.removeFirst(count)
    }

    /// A context that left its pipeline may be in the middle of a call: its references end with the turn.
    func releaseAfterTurn(_ context: ChannelContext) { own.removedContexts.append(ContextReference(context)) }

    private func releaseRemovedContexts() {
        // Handlers that are freed may remove others.
        while !own.removedContexts.isEmpty {
            let contexts = own.removedContexts
            own.removedContexts = []
            for context in contexts {
                context.with {
                    $0.own.next = .end
                    $0.own.previous = .end
                    $0.own.place = .gone
                }
            }
            for context in contexts { context.letGo() }
        }
    }

    /// A descriptor of this process is free again: listeners that had to pause go on.
    func descriptorFreed() {
        assertOnLoop()
        guard !own.pausedListeners.isEmpty else { return }
        let paused = own.pausedListeners
        own.pausedListeners.removeAll()
        for listener in paused { listener.resumeAccepting() }
    }

    // MARK: The end

    var hasFinished: Bool { own.phase == .closing && own.channels.count == 0 }

    func finish(_ messages: UnsafeMutablePointer<ct_message>) {
        assert(own.unconnected.isEmpty && own.attempts.count == 0)
        ct_mailbox_close(core)
        // What was posted before the door shut is still done; who posts now, on this thread too, is told that the loop is gone.
        own.phase = .ended
        while runWork(messages) || own.dirty.count > 0 || own.completions.count > 0 {
            own.dirty.removeAll()
            tellCompletions()
        }
        releaseRemovedContexts()
        while let timer = ct_timer_take_any(core) { LoopTimer.taken(timer).drop() }
        own.outboundMemory.deallocate()
        // A chunk that the kernel still had may have an owner of slices that are kept beyond the loop.
        while let chunk = ct_chunk_take_back(core) { BufferStorage.finish(chunk) }
        ct_loop_destroy(core)
        executor.late.begin(on: executor)
        own.shutdown?.complete()
        own.shutdown = nil
    }
}
