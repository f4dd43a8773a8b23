internal import CTransport

/// What a loop has done since it was made, counted by the loop itself. Fields marked "now" are levels.
public struct LoopStatistics: Sendable {
    /// Turns of the loop.
    public let turns: UInt64
    /// System calls that submit and wait; at most one a turn.
    public let enters: UInt64
    /// System calls made besides, because a submission queue was full.
    public let entersQueueFull: UInt64
    /// Events handled.
    public let events: UInt64
    /// Times bytes were received, and how many in all.
    public let receives: UInt64, receivedBytes: UInt64
    /// Sends that completed, and the bytes the kernel took.
    public let sends: UInt64, sentBytes: UInt64
    /// Connections accepted.
    public let accepts: UInt64
    /// Times another thread woke the loop from its sleep.
    public let wakes: UInt64
    /// Completions for a connection that was gone, and completions the kernel had to put aside. Both stay 0.
    public let staleCompletions: UInt64, completionOverflows: UInt64
    /// Times the kernel ran out of the receive memory it had been lent.
    public let receiveExhausted: UInt64
    /// Times a connection had to wait for the receive budget.
    public let starved: UInt64
    /// Now: receive memory of the loop, wherever it is, in bytes.
    public let receiveMemory: UInt64
    /// Now: open channels and listeners.
    public let openEndpoints: UInt64
    /// Now: timers that are armed.
    public let armedTimers: UInt64

    /// Now: bytes queued on all channels of the loop and not accepted by the kernel yet, entries included.
    public let queuedBytes: Int
    /// Writes refused at a hard limit or the loop's budget, and channels closed for it.
    public let refusedWrites: UInt64, slowChannelsClosed: UInt64

    init(_ native: ct_loop_statistics, _ outbound: OutboundBudget) {
        queuedBytes = outbound.pending
        refusedWrites = outbound.refused
        slowChannelsClosed = outbound.closed
        turns = native.turns
        enters = native.enters
        entersQueueFull = native.enters_queue_full
        events = native.events
        receives = native.receives
        receivedBytes = native.received_bytes
        sends = native.sends
        sentBytes = native.sent_bytes
        accepts = native.accepts
        wakes = native.wakes
        staleCompletions = native.stale_completions
        completionOverflows = native.completion_overflows
        receiveExhausted = native.receive_exhausted
        starved = native.starved
        receiveMemory = native.chunk_bytes
        openEndpoints = native.slots_open
        armedTimers = native.timers_armed
    }
}

extension EventLoop {
    /// The loop's counters. Any thread; asked of the loop itself, so they belong together. `nil` after it shut down.
    public func statistics() async -> LoopStatistics? {
        await run { self.currentStatistics }
    }

    /// The loop's counters, at once. The loop's thread only: elsewhere it stops the program.
    public var currentStatistics: LoopStatistics {
        requireOnLoop()
        return LoopStatistics(ct_loop_statistics_of(core).pointee, own.outbound)
    }
}
