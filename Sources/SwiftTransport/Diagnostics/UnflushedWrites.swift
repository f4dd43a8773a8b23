// Debug builds notice writes that nobody flushes: they are never sent, and nobody would be told. In others these are nothing.

extension Channel {
    /// Something was queued.
    @inline(__always)
    func noteWrite() {
        #if DEBUG
            guard !own.unflushed.isListed else { return }
            own.unflushed.isListed = true
            eventLoop.own.written.append(self)
        #endif
    }

    /// The channel begins to end.
    @inline(__always)
    func noteEnd() {
        #if DEBUG
            warnOfUnflushed(after: UnflushedWrites.longestAtEnd)
        #endif
    }
}

extension EventLoop {
    /// The turn is over. What was written in it and is unflushed now is looked at again later.
    @inline(__always)
    func noteEndOfTurn() {
        #if DEBUG
            guard !own.written.isEmpty else { return }
            for index in 0..<own.written.count { own.written[index].lookAtUnflushed() }
            own.written.removeAll(keepingCapacity: true)
        #endif
    }
}

#if DEBUG
    /// The oldest write of a channel that is not flushed, once it has outlived the turn it was made in.
    struct UnflushedWrites {
        /// A write that is unflushed for so long has been forgotten. In nanoseconds, as the other.
        static let longest: UInt64 = 1_000_000_000
        /// So has one that finds the channel ending. Not any: who collects writes for a few milliseconds forgets nothing.
        static let longestAtEnd: UInt64 = 100_000_000

        var isListed = false
        fileprivate var oldest: WriteHandle?
        fileprivate var since: UInt64 = 0
    }

    extension Channel {
        private var oldestUnflushed: WriteHandle? {
            guard own.lifecycle.isActive, let queue = own.queue else { return nil }
            let waiting = queue.flushedCount..<queue.count
            guard waiting.contains(where: { !queue[$0].isCancelled }) else { return nil }
            return own.nextHandle.advanced(by: -waiting.count)
        }

        fileprivate func lookAtUnflushed() {
            warnOfUnflushed(after: UnflushedWrites.longest)
            let oldest = oldestUnflushed
            if own.unflushed.oldest != oldest { own.unflushed.since = eventLoop.turnTime }
            own.unflushed.oldest = oldest
            own.unflushed.isListed = oldest != nil && lookAgain()
        }

        private func lookAgain() -> Bool {
            let timer = CallbackTimer { [weak self] in self?.lookAtUnflushed() }
            do throws(TransportError) {
                try timer.arm(on: eventLoop, at: eventLoop.turnTime + UnflushedWrites.longest)
                return true
            } catch {
                return false
            }
        }

        private func warnOfUnflushed(after time: UInt64) {
            guard let oldest = own.unflushed.oldest, oldest == oldestUnflushed,
                eventLoop.turnTime >= own.unflushed.since + time
            else {
                return
            }
            let name = nameForWarnings
            Warnings.give(
                .neverFlushed, at: name,
                """
                \(name) has been written to and not flushed: nothing is sent before flush(). Flush where the writing ends, as a rule \
                in channelReadComplete, or use writeAndFlush
                """)
        }
    }
#endif
