/// Puts the length before everything that is written through it: the other half of ``FrameFormat/lengthField(_:)``.
///
///     [FrameHandler(.lengthField()), LengthFieldPrepender(), Session()]       // Session reads and writes contents
///
/// One write is one frame, a part of a file too. A frame that the field cannot count, or that is above the limit of the format, fails its
/// promise with `.unencodableMessage`.
public final class LengthFieldPrepender: ChannelHandler {
    /// What goes out.
    public static let interests: ChannelEvents = .write

    private let format: LengthFieldFormat

    /// - Parameter format: as the peer reads it; bytes before the field are zero. Default: four bytes in network order.
    public init(_ format: LengthFieldFormat = LengthFieldFormat()) { self.format = format }

    /// The header, and then the bytes.
    public func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
        guard let promise = prepend(context, bytes.count, pending: bytes.count, promise) else { return }
        let outer = context.channel.beginAdmitted()
        context.write(bytes, promise: promise)
        context.channel.endAdmitted(outer)
    }

    /// The header, and then the part of the file.
    public func write(_ context: ChannelContext, _ file: FileRegion, promise: consuming WritePromise) {
        let pending = FileRegion.weight(of: file.count)
        guard let promise = prepend(context, file.count, pending: pending, promise) else { return }
        let outer = context.channel.beginAdmitted()
        context.write(file, promise: promise)
        context.channel.endAdmitted(outer)
    }

    /// Writes the header of a content that is certain to follow. `nil`: neither is written, and whoever waits has been told why.
    private func prepend(
        _ context: ChannelContext, _ count: Int, pending: Int, _ promise: consuming WritePromise
    ) -> WritePromise? {
        let value = count - format.adjustment
        let header = format.offset + format.width
        let most = format.width == 8 ? Int.max : 1 << (8 * format.width) - 1
        guard value >= 0, value <= most, count <= format.limit - header else {
            promise.complete(TransportError(.unencodableMessage))
            return nil
        }
        guard let promise = context.channel.admit(header + pending, writes: 2, promise) else { return nil }
        let outer = context.channel.beginAdmitted()
        defer { context.channel.endAdmitted(outer) }
        if header <= 16 {
            var bytes = InlineArray<16, UInt8>(repeating: 0)
            for index in 0..<format.width { bytes[format.offset + index] = byte(index, of: value) }
            context.write(bytes.span.bytes.extracting(0..<header))
        } else {
            var bytes = [UInt8](repeating: 0, count: header)
            for index in 0..<format.width { bytes[format.offset + index] = byte(index, of: value) }
            context.write(bytes.span.bytes)
        }
        return promise
    }

    private func byte(_ index: Int, of value: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: value >> (8 * (format.order == .big ? format.width - 1 - index : index)))
    }
}
