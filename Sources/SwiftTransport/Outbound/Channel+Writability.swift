internal import Synchronization

// When a channel is writable, as everybody sees it, and who is told when that changes.
extension Channel {
    /// False when writing on would only fill memory: the queue is above its high mark, a flag of the user says so, or the
    /// channel is not open. Writes are still taken until the hard limit. Any thread; what other threads have under way
    /// to the loop is counted.
    public var isWritable: Bool {
        guard levels.flags == 0 else { return false }
        let remote = remotePending.load(ordering: .relaxed)
        return remote == 0 || levels.pending &+ remote <= levels.high
    }

    /// Bytes that are queued and not yet accepted by the kernel, with ``WaterMark/entryOverhead`` for each write. Any
    /// thread.
    public var pendingBytes: Int { levels.pending &+ remotePending.load(ordering: .relaxed) }

    /// How many more pending bytes make the channel unwritable; 0 when it is unwritable already, `Int.max` when no number does. Any
    /// thread.
    public var bytesBeforeUnwritable: Int {
        guard isWritable else { return 0 }
        let room = levels.high &- pendingBytes
        return room == Int.max ? room : max(0, room &+ 1)
    }

    /// How many pending bytes must go until the water mark no longer makes the channel unwritable; 0 when it does not.
    /// Above 0 the channel may still wait for a flag of the user. `Int.max` when it is not open. Any thread.
    ///
    /// One more than the distance to the low mark, because the comparison is strict (netty#13389).
    public var bytesBeforeWritable: Int {
        guard levels.isOpen else { return Int.max }
        return levels.flags & ChannelLevels.waterMark == 0 ? 0 : max(0, levels.pending &- levels.low &+ 1)
    }

    /// The marks. Any thread.
    public var waterMark: WaterMark { levels.mark }

    /// Changes the marks. What is pending is compared with them at once, and the handlers are told if that makes a
    /// difference (in Netty and SwiftNIO only the next write does that). Any thread.
    public func setWaterMark(_ mark: WaterMark) {
        onLoop {
            self.levels.setMark(mark)
            self.updateWritability()
        }
    }

    /// Sets or clears one of 31 reasons of your own why the channel should not be written to, such as a rate limit.
    ///
    /// The channel is writable when no flag is set and the queue is below its mark; the handlers are told on real changes
    /// only. Any thread.
    ///
    /// - Parameters:
    ///   - writable: false sets the flag.
    ///   - index: 1 to 31; another number stops the program, because it is a mistake in it.
    public func setWritable(_ writable: Bool, flag index: Int) {
        require((1...31).contains(index), "writability flags are numbered 1 to 31, not \(index)")
        onLoop {
            let flags = self.levels.flags
            let bit: UInt64 = 1 << UInt64(index)
            self.change(flags, to: writable ? flags & ~bit : flags | bit)
        }
    }

    /// Whether the flag allows writing. Any thread.
    public func isWritable(flag index: Int) -> Bool {
        guard (1...31).contains(index) else { return true }
        return levels.flags & (1 << UInt64(index)) == 0
    }

    /// Sets the water mark's bit above the high mark, clears it below the low one (both comparisons are strict), leaves it
    /// in between, and tells the handlers if that made a difference.
    func updateWritability() {
        let flags = levels.flags
        let pending = levels.pending
        if pending > levels.high {
            change(flags, to: flags | ChannelLevels.waterMark)
        } else if pending < levels.low {
            change(flags, to: flags & ~ChannelLevels.waterMark)
        }
    }

    /// The same behind a send within the turn. That the channel is writable again is told at the end of the turn: whoever writes
    /// and flushes in a loop is not called back in the middle of it and sent to write the same once more.
    func updateWritabilityAhead() {
        guard levels.pending < levels.low, levels.flags == ChannelLevels.waterMark else { return updateWritability() }
        levels.setFlags(0)
        own.writing.owesWritable = true
        listDirty()
    }

    /// The end of the turn.
    func tellWritableAgain() {
        own.writing.owesWritable = false
        _ = hasCaughtUp()
        tellWritability()
    }

    private func change(_ flags: UInt64, to changed: UInt64) {
        guard changed != flags else { return }
        levels.setFlags(changed)
        guard (flags == 0) != (changed == 0) else { return }
        if own.writing.owesWritable {
            // They never heard that it was writable in between.
            own.writing.owesWritable = false
            return
        }
        if changed == 0 { _ = hasCaughtUp() }
        tellWritability()
    }

    /// A write from another thread has arrived. If what was on its way made the channel look unwritable there, and no longer
    /// does, the handlers are told, or who waits for it would wait for ever (netty#4739, netty#3565).
    @inline(__always)
    func caughtUp() {
        if isAheadOfLoop.load(ordering: .relaxed), !own.writing.owesWritable, hasCaughtUp() { tellWritability() }
    }

    /// True when somebody elsewhere has seen the channel unwritable for what was on its way, and it is writable now. If it still
    /// is not, the arrival of the rest asks again: perhaps nothing of it is ever queued.
    private func hasCaughtUp() -> Bool {
        let wasAhead = isAheadOfLoop.exchange(false, ordering: .sequentiallyConsistent)
        if isWritable { return wasAhead }
        isAheadOfLoop.store(true, ordering: .sequentiallyConsistent)
        return false
    }

    private func tellWritability() {
        guard own.lifecycle.isActive else { return }
        // The write that brought this about may have waited for its turn; what is written in answer has not.
        let admitted = own.writing.isAdmitted
        own.writing.isAdmitted = false
        own.first.call(.writabilityChanged) { $0.handler.channelWritabilityChanged($0) }
        own.writing.isAdmitted = admitted
    }
}
