/// Tells the handlers behind it when nothing happens on a channel for too long, by an ``IdleStateEvent`` as user event.
///
///     [IdleStateHandler(reader: .seconds(70), writer: .seconds(30)), Session()]
///
///     func userEvent(_ context: ChannelContext, _ event: any Sendable) {
///         guard let idle = event as? IdleStateEvent else { return context.fireUserEvent(event) }
///         ...
///     }
///
/// As Netty's, without a timer: the channel keeps when bytes last came and went, and the loop looks at all of its channels together.
/// Where no handler stands between it and the network, ``ChannelOption/idle(_:)`` does the same without a handler; and a handler
/// that wants to know for itself asks with ``ChannelContext/setIdleLimits(_:)``.
public final class IdleStateHandler: ChannelHandler {
    /// None: it is asked for by its place alone.
    public static let interests: ChannelEvents = []

    private let limits: IdleLimits

    /// - Parameters:
    ///   - reader: how long no byte may come in. Default: off.
    ///   - writer: how long the kernel may take no byte. Default: off.
    ///   - all: how long neither may happen. Default: off.
    public init(reader: Duration? = nil, writer: Duration? = nil, all: Duration? = nil) {
        limits = IdleLimits(reader: reader, writer: writer, all: all)
    }

    /// Begins to watch.
    public func handlerAdded(_ context: ChannelContext) { context.setIdleLimits(limits) }
}
