/// The events a handler wants to see. Handlers that do not want one are skipped, at no cost.
public struct ChannelEvents: OptionSet, Sendable {
    /// The set as bits.
    public let rawValue: UInt32
    /// A set from bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// ``ChannelHandler/channelActive(_:)``
    public static let active = ChannelEvents(rawValue: 1 << 0)
    /// ``ChannelHandler/channelRead(_:_:)``
    public static let read = ChannelEvents(rawValue: 1 << 1)
    /// ``ChannelHandler/channelReadComplete(_:)``
    public static let readComplete = ChannelEvents(rawValue: 1 << 2)
    /// ``ChannelHandler/channelWritabilityChanged(_:)``
    public static let writabilityChanged = ChannelEvents(rawValue: 1 << 3)
    /// ``ChannelHandler/inputClosed(_:)``
    public static let inputClosed = ChannelEvents(rawValue: 1 << 4)
    /// ``ChannelHandler/errorCaught(_:_:)``
    public static let error = ChannelEvents(rawValue: 1 << 5)
    /// ``ChannelHandler/userEvent(_:_:)``
    public static let userEvent = ChannelEvents(rawValue: 1 << 6)
    /// ``ChannelHandler/channelInactive(_:)``
    public static let inactive = ChannelEvents(rawValue: 1 << 7)
    /// ``ChannelHandler/write(_:_:promise:)-(_,ReadBytes,_)``, for files and for messages too
    public static let write = ChannelEvents(rawValue: 1 << 8)
    /// ``ChannelHandler/flush(_:)``
    public static let flush = ChannelEvents(rawValue: 1 << 9)
    /// ``ChannelHandler/close(_:_:)``
    public static let close = ChannelEvents(rawValue: 1 << 10)
    /// ``ChannelHandler/shutdownBegan(_:)``
    public static let shutdown = ChannelEvents(rawValue: 1 << 11)

    /// ``ChannelHandler/shutdownOutput(_:promise:)``
    public static let shutdownOutput = ChannelEvents(rawValue: 1 << 12)

    /// Every event from the network towards the application.
    public static let inbound: ChannelEvents = [
        .active, .read, .readComplete, .writabilityChanged, .inputClosed, .error, .userEvent, .shutdown, .inactive,
    ]
    /// Every operation from the application towards the network.
    public static let outbound: ChannelEvents = [.write, .flush, .shutdownOutput, .close]
    /// Everything.
    public static let all: ChannelEvents = [.inbound, .outbound]
}
