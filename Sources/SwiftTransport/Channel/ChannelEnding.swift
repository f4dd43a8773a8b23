/// What a channel needs only at its beginning and its end, kept apart so that a channel in between stays small.
final class ChannelEnding {
    /// The first failure; every later refusal carries it.
    @exclusivity(unchecked) var cause: TransportError?
    /// Who waits for the channel to be closed.
    @exclusivity(unchecked) var waiters: [UnsafeContinuation<Void, Never>] = []
    /// Cuts a drain off.
    @exclusivity(unchecked) var timer: CallbackTimer?
    @exclusivity(unchecked) var deadline = UInt64.max
    /// The loop is shutting down: what is cut off is reported.
    @exclusivity(unchecked) var isShutdown = false
    /// Takes the result of a connect.
    @exclusivity(unchecked) var connected: ((Int32) -> Void)?
    /// Told once, when the channel is closed.
    @exclusivity(unchecked) var onClosed: (() -> Void)?
}
