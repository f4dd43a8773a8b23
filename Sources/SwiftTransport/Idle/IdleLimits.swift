/// How long nothing may come in, go out, or happen at all on a channel before somebody is told.
///
///     .childOptions(.idle(IdleLimits(reader: .seconds(70), writer: .seconds(30))))
///
/// A limit is off when it is `nil` or not above zero; at most it is twelve days. The time is that of the loop.
public struct IdleLimits: Sendable, Hashable {
    /// Without a byte from the peer. It does not run while nobody here wants bytes (``Channel/setAutomaticReading(_:)``,
    /// ``BackPressureHandler``, a task that has fallen behind), nor behind the peer's end of stream: it speaks of the peer.
    public var reader: Duration?
    /// Without a byte that the kernel takes. What counts is progress, and not the end of a write: a peer that reads slowly is not idle.
    public var writer: Duration?
    /// Without either.
    public var all: Duration?

    /// Limits; each is off by default, as in Netty.
    public init(reader: Duration? = nil, writer: Duration? = nil, all: Duration? = nil) {
        self.reader = reader
        self.writer = writer
        self.all = all
    }
}

/// Nothing has happened on a channel for as long as a limit of ``IdleLimits`` says. It comes as a user event, or to
/// ``ChannelHandler/channelIdle(_:_:)`` of a handler that has limits of its own.
///
/// It is told between the end of the limit and a sixteenth of the smallest limit of the loop later, at most a tenth of a second; and
/// again each time the limit is over once more with nothing in between.
public struct IdleStateEvent: Sendable, Hashable {
    /// What has not happened.
    public enum State: UInt8, Sendable, Hashable, CaseIterable {
        /// No byte came in.
        case reader
        /// The kernel took no byte.
        case writer
        /// Neither.
        case all
    }

    /// What has not happened.
    public let state: State
    /// The first since it last did.
    public let isFirst: Bool

    /// An event as the library makes it; public so that tests of handlers can make one too.
    public init(state: State, isFirst: Bool) {
        self.state = state
        self.isFirst = isFirst
    }
}
