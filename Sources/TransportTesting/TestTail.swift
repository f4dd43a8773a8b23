internal import SwiftTransport

/// Behind the handlers of a ``TestChannel``: keeps what they pass on.
final class TestTail: ChannelHandler {
    static let interests: ChannelEvents = [.read, .writabilityChanged, .error, .userEvent]

    var bytes: [UInt8] = []
    var errors: [any Error] = []
    var userEvents: [any Sendable] = []
    var writability: [Bool] = []

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        self.bytes.append(contentsOf: bytes)
        context.fireChannelRead(bytes)
    }

    func channelWritabilityChanged(_ context: ChannelContext) {
        writability.append(context.channel.isWritable)
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(_ context: ChannelContext, _ error: any Error) {
        errors.append(error)
        context.fireErrorCaught(error)
    }

    func userEvent(_ context: ChannelContext, _ event: any Sendable) {
        userEvents.append(event)
        context.fireUserEvent(event)
    }
}

/// What it holds, and leaves behind.
func take<Item>(_ items: inout [Item]) -> [Item] {
    defer { items = [] }
    return items
}
