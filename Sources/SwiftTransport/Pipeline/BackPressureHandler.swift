/// Reads no more while the channel is not writable: a peer that sends but does not read is slowed down instead of filling
/// the outbound queue. For services that answer what they read.
public final class BackPressureHandler: ChannelHandler {
    /// Only changes of writability.
    public static let interests: ChannelEvents = [.writabilityChanged]

    /// A handler for one channel.
    public init() {}

    /// Switches reading off or on.
    public func channelWritabilityChanged(_ context: ChannelContext) {
        context.channel.setAutomaticReading(context.channel.isWritable)
        context.fireChannelWritabilityChanged()
    }
}
