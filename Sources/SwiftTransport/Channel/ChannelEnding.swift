/// What a channel needs only at its beginning and its end, kept apart so that a channel in between stays small.
final class ChannelEnding {
    /// The first failure; every later refusal carries it.
    @exclusivity(unchecked) var cause: TransportError?
    /// Who waits for the channel to be closed.
    @exclusivity(unchecked) var waiters: [UnsafeContinuation<Void, Never>] = []
    /// Cuts the end off.
    @exclusivity(unchecked) var timer: CallbackTimer?
    @exclusivity(unchecked) var deadline = UInt64.max
    /// Looks again whether the peer's kernel has everything.
    @exclusivity(unchecked) var look: CallbackTimer?
    /// The stream has a hole that nobody knows of: what was accepted before it is sent, and then a reset.
    @exclusivity(unchecked) var isBroken = false
    /// What had to be cut off, and what was queued then.
    @exclusivity(unchecked) var wasCutOff = false
    @exclusivity(unchecked) var bytesDropped = 0
    /// The graceful shutdowns that wait for this channel, and whether it had nothing to do when the first began.
    @exclusivity(unchecked) var departures: [Departure] = []
    @exclusivity(unchecked) var wasIdle = false
    /// Takes the result of a connect.
    @exclusivity(unchecked) var connected: ((Int32) -> Void)?
    /// Told once, when the channel is closed.
    @exclusivity(unchecked) var onClosed: (() -> Void)?
}
