// What a channel keeps of its last bytes: two stamps of 32 bits, in and out, set by every piece of bytes and read by nobody but the sweep.
extension Channel {
    /// Has the handlers told when nothing happens for too long, by an ``IdleStateEvent`` as user event that begins at the network's end
    /// of the pipeline. Instead of the limits it had; they begin anew. Before the channel is active they wait. Any thread.
    public func setIdleLimits(_ limits: IdleLimits) {
        onLoop { self.watchIdle(limits) }
    }

    func watchIdle(_ limits: IdleLimits) {
        guard !own.lifecycle.isOver else { return }
        do throws(TransportError) {
            try eventLoop.watchIdle(.channel(ChannelReference(self)), limits)
        } catch {
            fail(error)
        }
    }

    // MARK: The stamps

    @inline(__always)
    func stampInput() { own.lastRead = eventLoop.own.stamp }
    @inline(__always)
    func stampOutput() { own.lastWrite = eventLoop.own.stamp }

    func stampBoth() {
        stampInput()
        stampOutput()
    }

    /// Nobody may take a stamp of long ago for one of a moment ago.
    func limitAgeOfStamps(_ now: UInt32) {
        if now &- own.lastRead > IdleTime.oldest { own.lastRead = now &- IdleTime.oldest }
        if now &- own.lastWrite > IdleTime.oldest { own.lastWrite = now &- IdleTime.oldest }
    }

    func lastActivity(_ state: IdleStateEvent.State) -> UInt32 {
        switch state {
        case .reader: own.lastRead
        case .writer: own.lastWrite
        case .all: Int32(bitPattern: own.lastWrite &- own.lastRead) > 0 ? own.lastWrite : own.lastRead
        }
    }

    /// False while silence says nothing of the peer.
    func mayBeIdle(_ state: IdleStateEvent.State) -> Bool {
        guard own.lifecycle.isActive else { return false }
        let listens = own.reading.holds.isEmpty && own.held == nil && !own.reading.owesComplete
        switch state {
        case .reader: return listens && own.lifecycle.isInputOpen
        case .writer: return own.lifecycle.takesWrites || own.queue != nil
        case .all: return listens || !own.lifecycle.isInputOpen
        }
    }
}

extension ChannelContext {
    /// Has this handler told, by ``ChannelHandler/channelIdle(_:_:)``, when nothing happens on its channel for too long. Instead of the
    /// limits it had; without any it is told no more. Ends when the handler leaves. The channel's loop.
    public func setIdleLimits(_ limits: IdleLimits) {
        assertOnLoop()
        guard own.place == .taken else { return }
        do throws(TransportError) {
            try eventLoop.watchIdle(.handler(ContextReference(self)), limits)
        } catch {
            channel.fail(error)
        }
    }

    /// The handler leaves.
    func endIdleLimits() {
        if idlePlace >= 0 { eventLoop.unwatchIdle(.handler(ContextReference(self))) }
    }
}
