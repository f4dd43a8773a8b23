import SwiftTransport
import Synchronization

/// A connection that lives as long as its group. Ends of sessions, on whatever loop, write to it with promises of their own:
/// those must be kept where they belong, and not where the write went.
final class Tunnel: Sendable {
    let session: Session
    private let opened = Mutex<Channel?>(nil)

    init(_ session: Session) { self.session = session }

    /// `nil` until it is open.
    var channel: Channel? { opened.withLock { $0 } }

    func open(_ channel: Channel) { opened.withLock { $0 = channel } }

    func close() { opened.withLock { $0.take() }?.close(HandlerEnd.patience) }
}

extension HandlerEnd {
    /// Writes to another channel, perhaps of another loop, and is told about it here.
    func forward(_ session: Session, _ context: ChannelContext) {
        let tunnels = session.epoch.tunnels
        guard !tunnels.isEmpty else { return }
        let number = random.below(tunnels.count)
        let tunnel = tunnels[number]
        guard let channel = tunnel.channel else { return }
        let count = random.logarithmic(Stream.markLength, 4096)
        // A lane for each loop: what one thread writes is in order.
        let lane = context.eventLoop.index
        // First, or the session could be judged in between, by another thread.
        tunnel.session.promised()
        let (index, phase) = tunnel.session.outgoing(.client).issue(count, lane: lane, isTold: true, isRemovable: true)
        session.note(side, "forwards", number, index)
        let range = index..<index + 1
        let buffer = Piece.buffer(phase, count, &random)
        switch random.below(3) {
        case 0:
            let census = Census.Member(.promise)
            let promise = WritePromise.callback { result in
                withExtendedLifetime(census) {}
                tunnel.session.told(.client, range, result)
            }
            channel.writeAndFlush(buffer, promise: promise)
        case 1:
            channel.write(
                buffer, promise: .handler(context, tag: Tag(range, tunnel: number).bits, progress: random.flip()))
            channel.flush()
        default:
            channel.writeAndFlush(buffer, promise: .handler(context, tag: Tag(range, tunnel: number).bits))
        }
    }

    /// A write of ours to a tunnel is over. The loop of this end, whatever loop the tunnel is of.
    func forwarded(_ tag: Tag, _ number: Int, _ result: WriteResult, _ context: ChannelContext) {
        guard let session else { return }
        if !context.eventLoop.isCurrent, !session.epoch.isShuttingDown {
            session.fault("completion off its loop", "forwarded #\(tag.range)")
        }
        session.epoch.tunnels[number].session.told(.client, tag.range, result)
    }
}
