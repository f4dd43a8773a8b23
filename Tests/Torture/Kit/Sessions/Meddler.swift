import SwiftTransport

/// A handler that passes everything on and meddles with the pipeline from within the events: removes itself and others, adds
/// more of its kind, switches, flushes and ends. The loop's thread only.
final class Meddler: ChannelHandler, @unchecked Sendable {
    /// The meddlers of one channel.
    final class Gang: @unchecked Sendable {
        var members: [Meddler] = []
        /// How many more may join.
        var vacancies = 6
        let end: HandlerEnd?
        init(_ end: HandlerEnd?) { self.end = end }
    }

    static let interests: ChannelEvents = .inbound

    private let gang: Gang
    private var random: Random
    private var context: ChannelContext?
    private let census = Census.Member(.handler)

    init(_ gang: Gang, _ random: Random) {
        self.gang = gang
        self.random = random
    }

    func handlerAdded(_ context: ChannelContext) {
        self.context = context
        gang.members.append(self)
    }

    func handlerRemoved(_ context: ChannelContext) {
        if self.context == nil { gang.end?.session?.fault("pipeline", "a handler was removed twice") }
        self.context = nil
        gang.members.removeAll { $0 === self }
    }

    func channelActive(_ context: ChannelContext) { around(context) { $0.fireChannelActive() } }
    func channelReadComplete(_ context: ChannelContext) { around(context) { $0.fireChannelReadComplete() } }
    func channelWritabilityChanged(_ context: ChannelContext) { around(context) { $0.fireChannelWritabilityChanged() } }
    func inputClosed(_ context: ChannelContext) { around(context) { $0.fireInputClosed() } }
    func errorCaught(_ context: ChannelContext, _ error: any Error) {
        around(context) { $0.fireErrorCaught(error) }
    }
    func userEvent(_ context: ChannelContext, _ event: any Sendable) { around(context) { $0.fireUserEvent(event) } }
    func shutdownBegan(_ context: ChannelContext) { around(context) { $0.fireShutdownBegan() } }
    func channelInactive(_ context: ChannelContext) { around(context) { $0.fireChannelInactive() } }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        check(context)
        meddle(context)
        switch random.below(4) {
        case 0: context.fireChannelRead(Buffer(bytes))
        case 1 where bytes.count > 1:
            let buffer = Buffer(bytes)
            let middle = random.between(1, buffer.count - 1)
            context.fireChannelRead(buffer[0..<middle])
            context.fireChannelRead(buffer[middle..<buffer.count])
        default: context.fireChannelRead(bytes)
        }
        meddle(context)
    }

    private func around(_ context: ChannelContext, _ pass: (ChannelContext) -> Void) {
        check(context)
        meddle(context)
        pass(context)
        meddle(context)
    }

    private func check(_ context: ChannelContext) {
        if self.context == nil { gang.end?.session?.fault("pipeline", "an event behind the removal") }
        if !context.eventLoop.isCurrent { gang.end?.session?.fault("pipeline", "an event on another thread") }
    }

    private func meddle(_ context: ChannelContext) {
        guard random.oneIn(8) else { return }
        let channel = context.channel
        switch random.below(11) {
        case 0: channel.pipeline.remove(context)
        case 1:
            guard !gang.members.isEmpty, let other = gang.members[random.below(gang.members.count)].context else {
                return
            }
            channel.pipeline.remove(other)
        case 2...4: multiply(context)
        case 5: context.fireUserEvent(1)
        case 6:
            // With what has been received already on its way.
            channel.setAutomaticReading(false)
            channel.setAutomaticReading(true)
        case 7: channel.flush()
        case 9: _ = context.remoteAddress
        case 8: gang.end?.endSuddenly(behind: { channel.pipeline.remove(context) })
        default: gang.end?.act()
        }
    }

    private func multiply(_ context: ChannelContext) {
        // What has left has no place to add behind, and a closed channel takes nobody.
        guard gang.vacancies > 0, self.context != nil, context.channel.isActive else { return }
        gang.vacancies -= 1
        let seed = Random(random.next())
        let pipeline = context.channel.pipeline
        switch random.below(3) {
        case 0: pipeline.addFirst(Meddler(gang, seed))
        case 1: pipeline.addLast(Meddler(gang, seed))
        default: pipeline.add(Meddler(gang, seed), behind: context)
        }
    }
}
