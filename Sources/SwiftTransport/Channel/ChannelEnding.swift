/// What a channel needs only at its beginning and its end, kept apart so that a channel in between stays small.
final class ChannelEnding {
    /// The first failure; every later refusal carries it.
    var cause: TransportError?
    /// Who waits for the channel to be closed.
    var waiters: [() -> Void] = []
    /// Who waits for the end of the output.
    var outputWaiters: [WriteCompletion] = []
    /// Cuts the end off.
    var timer: CallbackTimer?
    var deadline = UInt64.max
    /// Looks again whether the peer's kernel has everything.
    var look: CallbackTimer?
    /// What had to be cut off, and what was queued then.
    var wasCutOff = false
    var bytesDropped = 0
    /// The graceful shutdowns that wait for this channel, and whether it had nothing to do when the first began.
    var departures: [Departure] = []
    var wasIdle = false
    /// Until the channel is active.
    var opening: ChannelOpening?
    /// Told once, when the channel is closed.
    var onClosed: (() -> Void)?

    /// It says nothing.
    var isEmpty: Bool {
        cause == nil && waiters.isEmpty && outputWaiters.isEmpty && timer == nil && look == nil && departures.isEmpty
            && opening == nil && onClosed == nil
    }
}
