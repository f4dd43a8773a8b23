/// Reads no more while the channel is not writable: a peer that sends but does not read is slowed down instead of filling
/// the outbound queue. For services that answer what they read. Others may hold reading back besides: bytes come when nobody
/// does.
public final class BackPressureHandler: ChannelHandler {
    /// Only changes of writability.
    public static let interests: ChannelEvents = [.writabilityChanged]

    /// A handler for one channel.
    public init() {}

    /// Switches reading off or on.
    public func channelWritabilityChanged(_ context: ChannelContext) {
        context.channel.holdReading(!context.channel.isWritable, .backPressure)
        context.fireChannelWritabilityChanged()
    }

    /// One that comes to a full channel holds reading back at once.
    public func handlerAdded(_ context: ChannelContext) {
        if context.channel.isActive, !context.channel.isWritable { context.channel.holdReading(true, .backPressure) }
    }

    /// A handler that leaves holds nothing back any more.
    public func handlerRemoved(_ context: ChannelContext) { context.channel.holdReading(false, .backPressure) }
}
