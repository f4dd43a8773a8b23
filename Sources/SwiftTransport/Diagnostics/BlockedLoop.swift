internal import CTransport
internal import Glibc

// Debug builds notice that something held a loop's thread for so long that its connections had to wait. In others these are
// nothing.
extension EventLoop {
    /// The loop has slept, and from here on it is the callbacks' time.
    @inline(__always)
    func beginLap() {
        #if DEBUG
            own.lapBegan = ct_clock_now()
            own.effortBefore = ThreadEffort()
        #endif
    }

    /// A callback has returned.
    ///
    /// - Parameter name: whose it was.
    @inline(__always)
    func endLap(_ name: @autoclosure () -> String) {
        #if DEBUG
            let now = ct_clock_now()
            let nanoseconds = now &- own.lapBegan
            own.lapBegan = now
            if nanoseconds >= Self.longestLap { warnOfBlocking(name(), nanoseconds) }
        #endif
    }

    /// A callback of `channel` has returned.
    @inline(__always)
    func endLap(_ channel: Channel) {
        #if DEBUG
            endLap(channel.nameForWarnings)
        #endif
    }

    /// An event was handled.
    @inline(__always)
    func endLap(_ event: ct_event) {
        #if DEBUG
            switch event.kind {
            case CT_EVENT_RECEIVE, CT_EVENT_SEND:
                if let context = event.context { ChannelReference(context).with { endLap($0) } }
            case CT_EVENT_TIMER: endLap("a timer")
            case CT_EVENT_ACCEPT: endLap("an accepted connection")
            case CT_EVENT_CONNECT: endLap("a connect")
            default: endLap("the end of a connection")
            }
        #endif
    }

    #if DEBUG
        /// In nanoseconds. What callbacks do should be over in microseconds.
        static let longestLap: UInt64 = 100_000_000

        private func warnOfBlocking(_ name: String, _ nanoseconds: UInt64) {
            guard ThreadEffort().explains(nanoseconds, since: own.effortBefore) else { return }
            Warnings.give(
                .blockedLoop, at: name,
                """
                \(name) held the thread of event loop \(index) for \(nanoseconds / 1_000_000) ms, in which none of its other \
                connections was served. What waits or computes for long belongs on another thread
                """)
        }
    #endif
}

#if DEBUG
    /// What a thread has done so far: a callback that holds it up computes, or waits for something. A thread that did neither was
    /// not held up by it: the machine had no processor to spare.
    struct ThreadEffort {
        private var computed: UInt64 = 0
        private var waits = 0

        /// Of the calling thread.
        init() {
            var usage = rusage()
            guard getrusage(__rusage_who_t(1), &usage) == 0 else { return }  // RUSAGE_THREAD
            computed = Self.nanoseconds(usage.ru_utime) + Self.nanoseconds(usage.ru_stime)
            waits = usage.ru_nvcsw
        }

        private static func nanoseconds(_ time: timeval) -> UInt64 {
            UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_usec) * 1000
        }

        func explains(_ nanoseconds: UInt64, since earlier: ThreadEffort) -> Bool {
            waits > earlier.waits || computed &- earlier.computed >= nanoseconds / 2
        }
    }
#endif
