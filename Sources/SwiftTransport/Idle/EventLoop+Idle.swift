// The sweep over a loop's ``IdleTable``, and what it finds. The loop's thread only.
extension EventLoop {
    /// Begins, changes or ends a watch; every limit begins anew.
    func watchIdle(_ owner: IdleOwner, _ limits: IdleLimits) throws(TransportError) {
        assertOnLoop()
        let watch = IdleTable.Watch(owner, limits, from: own.stamp)
        let place = Int(owner.place)
        if watch.limits.smallest == .max {
            unwatchIdle(owner)
        } else if place >= 0 {
            try sweepIdle(by: watch.earliest)
            own.idle.replace(watch, at: place)
        } else {
            try sweepIdle(by: watch.earliest)
            owner.place = own.idle.append(watch)
        }
    }

    func unwatchIdle(_ owner: IdleOwner) {
        let place = Int(owner.place)
        guard place >= 0 else { return }
        owner.place = -1
        own.idle.remove(at: place)
        guard own.idle.count == 0, !own.idle.isSweeping else { return }
        own.idle.timer?.disarm(on: self)
    }

    // MARK: When

    /// Has the table swept at `time` at the latest, or a tick after the last sweep.
    private func sweepIdle(by time: UInt32) throws(TransportError) {
        let left = Int32(bitPattern: time &- own.stamp)
        if own.idle.isSweeping {
            own.idle.earliestSet = min(own.idle.earliestSet, left)
            return
        }
        let timer = own.idle.timer ?? CallbackTimer { [unowned self] in self.sweepIdle() }
        own.idle.timer = timer
        if timer.isArmed {
            if Int32(bitPattern: own.idle.ringsAt &- time) <= 0 { return }
            timer.disarm(on: self)
        }
        try arm(timer, in: max(1, left))
    }

    private func arm(_ timer: CallbackTimer, in units: Int32) throws(TransportError) {
        own.idle.ringsAt = own.stamp &+ UInt32(units)
        // At the beginning of that unit: what is due then is due.
        let time = (turnTime >> 20 + UInt64(units)) << 20
        try timer.arm(on: self, at: time)
    }

    // MARK: The sweep

    private func sweepIdle() {
        let now = own.stamp
        own.idle.isSweeping = true
        own.idle.earliestSet = .max
        var soonest = Int32.max
        var place = own.idle.count
        // From the end: one that leaves meanwhile has its place taken by one that was looked at.
        while let hit = own.idle.lastDue(before: place, at: now, &soonest) {
            place = hit
            checkIdle(at: hit, now)
        }
        own.idle.isSweeping = false
        guard own.idle.count > 0, let timer = own.idle.timer else { return }
        // There is memory for it: that of the timer that has just rung.
        soonest = max(min(soonest, own.idle.earliestSet), Int32(own.idle.tick))
        do throws(TransportError) { try arm(timer, in: soonest) } catch { failWatched(error) }
    }

    /// Without a timer nobody would notice that a peer has gone.
    private func failWatched(_ error: TransportError) {
        while let watch = own.idle.watches.last {
            unwatchIdle(watch.owner)
            watch.owner.channel.fail(error)
        }
    }

    private func checkIdle(at place: Int, _ now: UInt32) {
        var watch = own.idle.watches[place]
        let owner = watch.owner
        let channel = owner.channel
        channel.limitAgeOfStamps(now)
        var due: (IdleStateEvent, IdleStateEvent, IdleStateEvent)
        var told = 0
        let nothing = IdleStateEvent(state: .all, isFirst: false)
        due = (nothing, nothing, nothing)
        for state in IdleStateEvent.State.allCases {
            guard let event = watch.look(state, channel, now) else { continue }
            switch told {
            case 0: due.0 = event
            case 1: due.1 = event
            default: due.2 = event
            }
            told += 1
        }
        own.idle.replace(watch, at: place)
        own.idle.earliestSet = min(own.idle.earliestSet, Int32(bitPattern: watch.earliest &- now))
        // Whoever is told may end the watch, or the channel.
        if told > 0 { owner.tell(due.0, on: channel) }
        if told > 1 { owner.tell(due.1, on: channel) }
        if told > 2 { owner.tell(due.2, on: channel) }
    }
}

extension IdleTable.Watch {
    /// Looks at one state of the channel: what is to be told, if anything, and when the next look is due.
    fileprivate mutating func look(_ state: IdleStateEvent.State, _ channel: Channel, _ now: UInt32) -> IdleStateEvent?
    {
        let limit = limits[state]
        guard limit != 0, Int32(bitPattern: next[state] &- now) <= 0 else { return nil }
        let bit = UInt8(1) << state.rawValue
        guard channel.mayBeIdle(state) else {
            next[state] = now &+ limit &+ 1
            first |= bit
            return nil
        }
        let last = channel.lastActivity(state)
        // Something has happened since the last look, or the last event.
        if Int32(bitPattern: last &- (next[state] &- limit &- 1)) >= 0 { first |= bit }
        let end = last &+ limit &+ 1
        if Int32(bitPattern: end &- now) > 0 {
            next[state] = end
            return nil
        }
        defer { first &= ~bit }
        next[state] = now &+ limit
        return IdleStateEvent(state: state, isFirst: first & bit != 0)
    }
}

extension IdleOwner {
    fileprivate var channel: Channel {
        switch self {
        case .channel(let channel): channel.endpoint
        case .handler(let context): context.context.channel
        }
    }

    fileprivate func tell(_ event: IdleStateEvent, on channel: Channel) {
        // It has left, with what was told before.
        guard channel.own.lifecycle.isActive, place >= 0 else { return }
        switch self {
        case .channel: channel.own.first.call(.userEvent) { $0.handler.userEvent($0, event) }
        case .handler(let context):
            let context = context.context
            context.handler.channelIdle(context, event)
        }
    }
}
