/// What makes the handlers of a channel: at once, or after it has waited for something.
enum HandlerFactory: Sendable {
    case atOnce(@Sendable (Channel) throws -> [any ChannelHandler])
    case waiting(@Sendable (Channel) async throws -> sending [any ChannelHandler])

    static let none = HandlerFactory.atOnce { _ in [] }

    /// The same handlers, and behind them a bridge to tasks.
    func adding(_ bridge: @escaping @Sendable () -> InboundBridge) -> HandlerFactory {
        switch self {
        case .atOnce(let make): .atOnce { try make($0) + [bridge()] }
        case .waiting(let make): .waiting { try await make($0) + [bridge()] }
        }
    }
}
