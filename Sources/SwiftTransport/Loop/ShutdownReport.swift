/// How the channels ended that a graceful shutdown met: see ``EventLoopGroup/shutdown(within:)``.
public struct ShutdownReport: Sendable, Hashable {
    /// Channels that had nothing under way and closed at once.
    public var channelsIdle = 0
    /// Channels that finished what was under way in time.
    public var channelsFinished = 0
    /// Channels that were cut off at the deadline.
    public var channelsCutOff = 0
    /// Bytes that were queued on those and never sent.
    public var bytesDropped = 0

    /// True when everything closed in time.
    public var isComplete: Bool { channelsCutOff == 0 && bytesDropped == 0 }

    mutating func add(_ other: ShutdownReport) {
        channelsIdle += other.channelsIdle
        channelsFinished += other.channelsFinished
        channelsCutOff += other.channelsCutOff
        bytesDropped += other.bytesDropped
    }
}
