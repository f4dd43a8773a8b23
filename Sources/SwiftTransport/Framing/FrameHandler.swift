/// Cuts what comes in into frames, each of which the next handler is given as a read of its own; or, with a decoder, as a message.
///
///     [FrameHandler(.lengthField()), Session()]                                       // frames as bytes
///     FrameHandler.handlers(.lengthField(), RequestDecoder(), Session())              // messages of one type
///
/// A frame that came in one piece is lent as it lies in receive memory. It is not handed on before all of it is there, and none is while
/// the channel is not writable: requests in one packet whose answers are large wait here, reading pauses, and they go on when the peer has
/// read enough. What is written in answer to a frame is flushed behind it: it is sent at the end of the turn, or before, when the next answer
/// would meet the hard limit. An answer that is larger than what is between the low mark and the hard limit needs a higher limit. What makes the stream no stream of frames, or ends it within one, is told as a ``FrameError``
/// (``ChannelHandler/errorCaught(_:_:)``); then the channel closes gracefully, and nothing further is handed on.
public final class FrameHandler<Format: FrameFormat, Target: FrameTarget>: ChannelHandler {
    /// What comes in, and when it may go on.
    public static var interests: ChannelEvents { [.read, .writabilityChanged, .inputClosed] }

    private var cutter: FrameCutter<Format>
    @usableFromInline var target: Target
    private var state = State.open
    /// Frames are being handed on: what comes in meanwhile has to wait.
    private var isBusy = false
    private var late = ByteBuffer()
    private var hold: ReadingHolds?

    private enum State {
        case open
        /// Until the channel is writable again.
        case paused
        /// Nothing is handed on any more.
        case ended
    }

    @usableFromInline
    init(_ format: Format, to target: Target) {
        cutter = FrameCutter(format)
        self.target = target
    }

    // MARK: Events

    /// Hands on what is complete.
    public func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        guard state != .ended else { return }
        if isBusy || state == .paused { return late.append(bytes) }
        handOn(context, bytes)
        drainLate(context)
    }

    /// Goes on where it had stopped.
    public func channelWritabilityChanged(_ context: ChannelContext) {
        context.fireChannelWritabilityChanged()
        guard state == .paused, !isBusy, context.channel.isWritable else { return }
        state = .open
        handOn(context, ReadBytes(lending: Buffer()))
        drainLate(context)
        if state == .open, let hold {
            self.hold = nil
            context.channel.endHold(hold)
        }
        context.fireChannelReadComplete()
    }

    /// Behind the last frame; within one it is an error.
    public func inputClosed(_ context: ChannelContext) {
        if state == .open, cutter.isInFrame {
            state = .ended
            context.fireErrorCaught(
                FrameError(.incomplete, "the stream ended in the middle of a frame: the peer broke off"))
        }
        context.fireInputClosed()
    }

    /// Gives back what it held.
    public func handlerRemoved(_ context: ChannelContext) {
        state = .ended
        if let hold { context.channel.endHold(hold) }
        hold = nil
    }

    // MARK: Frames

    private func drainLate(_ context: ChannelContext) {
        while state == .open, !late.isEmpty {
            let bytes = late.readAll()
            handOn(context, ReadBytes(lending: bytes))
        }
    }

    private func handOn(_ context: ChannelContext, _ bytes: ReadBytes) {
        isBusy = true
        defer { isBusy = false }
        var offset = 0
        do {
            while state == .open {
                guard mayGoOn(context) else { return pause(context, bytes, offset) }
                switch try cutter.next(in: bytes, from: &offset) {
                case .none: return
                case .here(let range): try target.frameRead(context, bytes[range])
                case .kept(let frame): try target.frameRead(context, ReadBytes(lending: frame))
                }
                // What was answered may be sent before the next answer would meet the limit: that is about the peer.
                if context.channel.pendingBytes > 0 { context.flush() }
            }
        } catch {
            end(context, error)
        }
    }

    @inline(__always)
    private func mayGoOn(_ context: ChannelContext) -> Bool { context.channel.isWritable || !context.channel.isActive }

    private func pause(_ context: ChannelContext, _ bytes: ReadBytes, _ offset: Int) {
        cutter.keep(bytes, from: offset)
        state = .paused
        if hold == nil { hold = context.channel.beginHold() }
    }

    private func end(_ context: ChannelContext, _ error: any Error) {
        guard state != .ended else { return }
        state = .ended
        context.fireErrorCaught(error)
        context.close()
    }
}

extension FrameHandler where Target == NextHandler {
    /// Frames for the next handler.
    public convenience init(_ format: Format) { self.init(format, to: NextHandler()) }

    /// The handlers that cut a stream into frames, make messages of them and take these. That the types fit, the compiler sees to; nothing
    /// is allocated or cast for a message.
    ///
    /// - Parameters:
    ///   - format: how the stream is cut.
    ///   - decoder: what a frame means.
    ///   - handler: who takes it. It is the next one in the pipeline.
    public static func handlers<Decoder: MessageDecoder, Handler: MessageHandler>(
        _ format: Format, _ decoder: Decoder, _ handler: Handler
    ) -> [any ChannelHandler] where Handler.Message == Decoder.Message {
        [
            FrameHandler<Format, DecodedMessages<Decoder, Handler>>(format, to: DecodedMessages(decoder, handler)),
            handler,
        ]
    }
}

extension Channel {
    /// Holds reading back for somebody who gets a hold of his own, of eight there are; more share the last one.
    func beginHold() -> ReadingHolds {
        let free =
            (0..<ReadingHolds.codecs).first { !own.reading.holds.contains(.codec($0)) } ?? ReadingHolds.codecs - 1
        holdReading(true, .codec(free))
        return .codec(free)
    }

    func endHold(_ hold: ReadingHolds) { holdReading(false, hold) }
}
