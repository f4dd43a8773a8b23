import SwiftTransport
import Synchronization

/// Sends back what it gets.
final class EchoHandler: ChannelHandler {
    static let interests: ChannelEvents = [.read, .readComplete]
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.write(bytes) }
    func channelReadComplete(_ context: ChannelContext) { context.flush() }
}

/// What a handler lived through.
enum Event: Equatable, Sendable {
    case added, active, read, readComplete, inputClosed, inactive, removed
    case writability(Bool)
    case error(TransportError.Code)
    case completed(UInt64, TransportError.Code?)
    case outputShutDown
    case note(String)
}

/// What a `RecordingHandler` has seen so far.
struct Recording: Sendable {
    var events: [Event] = []
    var bytes: [UInt8] = []

    /// How often the kernel hands over bytes is its own affair: rounds of reads count as one.
    var rounds: [Event] {
        var result: [Event] = []
        for event in events {
            if event == .read, result.last == .read { continue }
            if event == .readComplete, result.suffix(3).elementsEqual([.read, .readComplete, .read]) {
                result.removeLast()
                continue
            }
            result.append(event)
        }
        return result
    }

    func count(of event: Event) -> Int { events.count { $0 == event } }
    var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// Logs every event in its order, passes it on, and does what the test asks for when it comes.
final class RecordingHandler: ChannelHandler, @unchecked Sendable {
    let log: Watched<Recording>
    /// Keep the bytes that came. Off for those that are many.
    var keepsBytes = true
    // Set before the handler is added; called on the loop, after the event was logged.
    var onAdded: ((ChannelContext) -> Void)?
    var onActive: ((ChannelContext) -> Void)?
    var onRead: ((ChannelContext, borrowing ReadBytes) -> Void)?
    var onReadComplete: ((ChannelContext) -> Void)?
    var onWritability: ((ChannelContext) -> Void)?
    var onInputClosed: ((ChannelContext) -> Void)?
    var onError: ((ChannelContext, TransportError) -> Void)?
    var onInactive: ((ChannelContext) -> Void)?
    var onCompleted: ((ChannelContext, UInt64, WriteResult) -> Void)?

    init(_ log: Watched<Recording> = Watched(Recording()), _ configure: (RecordingHandler) -> Void = { _ in }) {
        self.log = log
        configure(self)
    }

    private func note(_ event: Event) { log.update { $0.events.append(event) } }

    func handlerAdded(_ context: ChannelContext) {
        note(.added)
        onAdded?(context)
    }
    func handlerRemoved(_ context: ChannelContext) { note(.removed) }
    func channelActive(_ context: ChannelContext) {
        note(.active)
        onActive?(context)
        context.fireChannelActive()
    }
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        let kept = keepsBytes ? bytes.withUnsafeBytes { [UInt8]($0) } : []
        log.update {
            $0.events.append(.read)
            $0.bytes += kept
        }
        onRead?(context, bytes)
        context.fireChannelRead(bytes)
    }
    func channelReadComplete(_ context: ChannelContext) {
        note(.readComplete)
        onReadComplete?(context)
        context.fireChannelReadComplete()
    }
    func channelWritabilityChanged(_ context: ChannelContext) {
        note(.writability(context.channel.isWritable))
        onWritability?(context)
        context.fireChannelWritabilityChanged()
    }
    func inputClosed(_ context: ChannelContext) {
        note(.inputClosed)
        onInputClosed?(context)
        context.fireInputClosed()
    }
    func errorCaught(_ context: ChannelContext, _ error: any Error) {
        if let error = error as? TransportError {
            note(.error(error.code))
            onError?(context, error)
        } else {
            note(.note("error: \(error)"))
        }
        context.fireErrorCaught(error)
    }
    func userEvent(_ context: ChannelContext, _ event: any Sendable) {
        if event as? ChannelNotice == .outputShutDown { note(.outputShutDown) }
        if let text = event as? String { note(.note(text)) }
        context.fireUserEvent(event)
    }
    func channelInactive(_ context: ChannelContext) {
        note(.inactive)
        onInactive?(context)
        context.fireChannelInactive()
    }
    func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) {
        note(.completed(tag, result?.code))
        onCompleted?(context, tag, result)
    }
}
