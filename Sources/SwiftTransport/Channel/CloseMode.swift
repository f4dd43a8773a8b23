/// How a channel ends. Always a choice, because each of them loses something else.
public enum CloseMode: Sendable, Hashable {
    /// Sends what is queued and the end of stream, then waits for the peer's end of stream, dropping what still comes in:
    /// a close with unread bytes would reset the connection and could destroy what the peer has not read yet. What is
    /// not done when the time is over is cut off, with a reset if anything had not been handed to the kernel.
    case drain(within: Duration)
    /// At once. With nothing queued, what the kernel has accepted is still delivered, then the end of stream, unless the peer
    /// goes on sending: the kernel answers that with a reset, so who must be sure drains. Queued writes fail with
    /// `.closed`, and then the peer gets a reset: an end of stream would tell it that this was all.
    case immediate
    /// Queued writes fail, what the kernel has not sent is dropped, and the peer sees a reset (SO_LINGER 0).
    case reset

    /// Drains for at most five seconds.
    public static let graceful = CloseMode.drain(within: gracefulTime)

    static let gracefulTime: Duration = .seconds(5)
}
