/// How a test can misuse a ``TestChannel``, or its handlers the loop.
public enum TestChannelError: Error, Hashable, CustomStringConvertible {
    /// ``TestChannel/finish()`` was called, or its loop has ended: nothing can be done with it any more.
    case finished
    /// It was called from one of its own handlers, or from another thread while it is at work.
    case inUse
    /// The peer cannot send: it has closed, reset or ended its side, or the connection was lost.
    case connectionOver
    /// The handlers keep the loop busy for ever: after so many turns in the same moment there is still something to do.
    case endless(turns: Int)

    /// What happened, and what to do about it.
    public var description: String {
        switch self {
        case .finished: "the test channel is finished: make a new one"
        case .inUse:
            "the test channel is at work: its handlers must not call it (they have their context), nor another thread"
        case .connectionOver:
            "the peer of the test channel cannot send: it has closed, reset or ended its side, or the connection was lost"
        case .endless(let turns):
            "the test channel does not come to rest: after \(turns) turns in the same moment its handlers still have something to do, "
                + "as when a timer without a delay, or a completion, starts itself again"
        }
    }
}
