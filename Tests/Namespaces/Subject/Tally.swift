import SwiftTransport
import Synchronization

/// What the handlers of a subject count, on all its loops, and the channels they are on.
final class Tally: Sendable {
    private let counts = Mutex(Counts())
    let channels = ChannelGroup()
    /// Whoever sends without end stops, and ends its stream.
    let isOver = Atomic<Bool>(false)

    func add(_ name: Counts.Name, _ count: Int = 1) { counts.withLock { $0[name] += count } }

    var current: Counts { counts.withLock { $0 } }
}

/// The first handler of every channel: notes its life.
final class Book: ChannelHandler {
    static let interests: ChannelEvents = [.active, .inputClosed, .error, .writabilityChanged, .inactive]
    private let tally: Tally
    private var isUnwritable = false

    init(_ tally: Tally) { self.tally = tally }

    func channelActive(_ context: ChannelContext) {
        tally.add(.opened)
        tally.channels.add(context.channel)
        context.fireChannelActive()
    }

    func channelWritabilityChanged(_ context: ChannelContext) {
        note(unwritable: !context.channel.isWritable)
        context.fireChannelWritabilityChanged()
    }

    func inputClosed(_ context: ChannelContext) {
        tally.add(.ended)
        context.fireInputClosed()
    }

    func errorCaught(_ context: ChannelContext, _ error: any Error) {
        tally.add(.errors)
        if let error = error as? TransportError, error.errno == 110 { tally.add(.timedOut) }
        context.fireErrorCaught(error)
    }

    func channelInactive(_ context: ChannelContext) {
        note(unwritable: false)
        tally.add(.closed)
        context.fireChannelInactive()
    }

    private func note(unwritable: Bool) {
        guard unwritable != isUnwritable else { return }
        isUnwritable = unwritable
        tally.add(.unwritable, unwritable ? 1 : -1)
    }
}
