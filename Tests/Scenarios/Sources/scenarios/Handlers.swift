import SwiftTransport
import Synchronization

/// Sends back what it gets.
final class Echo: ChannelHandler {
    static let interests: ChannelEvents = [.read, .readComplete]
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.write(bytes) }
    func channelReadComplete(_ context: ChannelContext) { context.flush() }
}

/// What became of the connections of a server, in the order in which they came.
final class Visitors: Sendable {
    struct Visitor: Sendable {
        let channel: Channel
        var bytes: [UInt8] = []
        var inputClosed = false
        var error: TransportError.Code?
        var inactive = false
    }
    private let visitors = Mutex<[Visitor]>([])

    var all: [Visitor] { visitors.withLock { $0 } }
    var count: Int { visitors.withLock { $0.count } }
    /// How many are still connected.
    var open: Int { visitors.withLock { $0.count { !$0.inactive } } }

    fileprivate func add(_ channel: Channel) -> Int {
        visitors.withLock {
            $0.append(Visitor(channel: channel))
            return $0.count - 1
        }
    }
    fileprivate func update(_ index: Int, _ change: (inout Visitor) -> Void) {
        visitors.withLock { change(&$0[index]) }
    }

    /// A handler that notes everything.
    func book() -> any ChannelHandler { Book(self) }

    private final class Book: ChannelHandler {
        static let interests: ChannelEvents = [.active, .read, .inputClosed, .error, .inactive]
        private let visitors: Visitors
        private var index = 0

        init(_ visitors: Visitors) { self.visitors = visitors }

        func channelActive(_ context: ChannelContext) {
            index = visitors.add(context.channel)
            context.fireChannelActive()
        }
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
            bytes.withUnsafeBytes { bytes in visitors.update(index) { $0.bytes += bytes } }
            context.fireChannelRead(bytes)
        }
        func inputClosed(_ context: ChannelContext) {
            visitors.update(index) { $0.inputClosed = true }
            context.fireInputClosed()
        }
        func errorCaught(_ context: ChannelContext, _ error: any Error) {
            visitors.update(index) { $0.error = (error as? TransportError)?.code }
            context.fireErrorCaught(error)
        }
        func channelInactive(_ context: ChannelContext) {
            visitors.update(index) { $0.inactive = true }
            context.fireChannelInactive()
        }
    }
}

/// `count` bytes that show it when one is lost, doubled, moved or another stream's.
func pattern(_ count: Int, seed: Int = 0) -> [UInt8] {
    var state = UInt64(truncatingIfNeeded: seed) &* 0x9E37_79B9_7F4A_7C15 | 1
    return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 56)
    }
}
