/// Makes a message of a frame.
///
///     struct RequestDecoder: MessageDecoder {
///         func decode(_ frame: ReadBytes) throws -> Request {
///             var reader = ByteReader(frame)
///             guard let id: UInt32 = reader.readInteger() else { throw ProtocolError.short }
///             return Request(id: id, key: reader.readString(reader.count)!)
///         }
///     }
public protocol MessageDecoder {
    /// What frames mean.
    associatedtype Message
    /// The message in a frame, which is lent. What it throws ends the connection: the handlers hear of it
    /// (``ChannelHandler/errorCaught(_:_:)``), and what was written before is still sent.
    mutating func decode(_ frame: ReadBytes) throws -> Message
}

/// A handler that is given messages of one type: what a ``MessageDecoder`` makes, at no cost of its own. Everything else comes to it as to
/// every handler.
///
///     final class Session: MessageHandler {
///         static let interests: ChannelEvents = [.readComplete]
///         func messageRead(_ context: ChannelContext, _ request: Request) { context.write(answer(to: request)) }
///         func channelReadComplete(_ context: ChannelContext) { context.flush() }
///     }
///
///     .childHandlers { FrameHandler.handlers(.lengthField(), RequestDecoder(), Session()) }
public protocol MessageHandler<Message>: ChannelHandler {
    /// What it is given.
    associatedtype Message
    /// A message came. Several may come in one turn of the loop; ``ChannelHandler/channelReadComplete(_:)`` follows behind the last one.
    func messageRead(_ context: ChannelContext, _ message: Message)
}

/// Who is given the frames of a ``FrameHandler``.
public protocol FrameTarget {
    /// A frame came to the handler at `context`.
    mutating func frameRead(_ context: ChannelContext, _ frame: ReadBytes) throws
}

/// The next handler of the pipeline, as bytes.
public struct NextHandler: FrameTarget {
    /// Hands it on.
    @inlinable
    public func frameRead(_ context: ChannelContext, _ frame: ReadBytes) { context.fireChannelRead(frame) }

    @usableFromInline init() {}
}

/// A handler that takes messages, by way of a decoder.
public struct DecodedMessages<Decoder: MessageDecoder, Handler: MessageHandler>: FrameTarget
where Handler.Message == Decoder.Message {
    @usableFromInline var decoder: Decoder
    @usableFromInline let handler: Handler
    /// Where the handler is, once that is known.
    @usableFromInline var place: ChannelContext?

    @usableFromInline
    init(_ decoder: Decoder, _ handler: Handler) {
        self.decoder = decoder
        self.handler = handler
    }

    /// Decodes it, and hands the message on. A handler that has left the pipeline is given none.
    @inlinable
    public mutating func frameRead(_ context: ChannelContext, _ frame: ReadBytes) throws {
        if place == nil { place = context.place(of: handler) }
        guard let place else { return }
        handler.messageRead(place, try decoder.decode(frame))
    }
}

extension ChannelContext {
    /// Where a handler behind this one is.
    @usableFromInline
    func place(of handler: some ChannelHandler) -> ChannelContext? {
        var candidate = own.next
        while let context = candidate.context {
            if context.handler === handler { return context }
            candidate = context.own.next
        }
        return nil
    }
}
