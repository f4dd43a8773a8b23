extension Connection {
    /// What comes in, cut into frames.
    ///
    ///     for try await frame in connection.frames(.lengthField()) { try await connection.send(answer(to: frame)) }
    ///
    /// As ``inbound`` otherwise: to be read by one task at a time, and by one iterator, which keeps what is not yet a whole frame.
    ///
    /// - Parameter format: how the stream is cut.
    public func frames<Format: FrameFormat>(_ format: Format) -> InboundFrames<Format> {
        InboundFrames(connection: self, format: format)
    }
}

/// The frames that come in on a ``Connection``.
public struct InboundFrames<Format: FrameFormat>: AsyncSequence, Sendable {
    /// What a frame contains.
    public typealias Element = Buffer

    let connection: Connection
    let format: Format

    /// Begins with the bytes that nobody has read yet.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(connection, format) }

    /// Reads frame after frame.
    public struct AsyncIterator: AsyncIteratorProtocol {
        private let connection: Connection
        private let reader: FrameReader<Format>

        init(_ connection: Connection, _ format: Format) {
            self.connection = connection
            reader = FrameReader(format)
        }

        /// The next frame; `nil` when the peer has finished sending, or the channel was closed at this end.
        ///
        /// - Throws: a ``FrameError`` when the bytes are none of the format, are too many or end within a frame; what
        ///   ``InboundBytes/AsyncIterator/next()`` throws.
        public mutating func next() async throws -> Buffer? {
            while true {
                if let frame = try reader.next() { return frame }
                guard let piece = try await connection.read() else {
                    guard reader.isInFrame else { return nil }
                    throw FrameError(.incomplete, "the stream ended in the middle of a frame: the peer broke off")
                }
                reader.append(piece)
            }
        }
    }
}

/// The frames of pieces that somebody owns.
final class FrameReader<Format: FrameFormat> {
    private var cutter: FrameCutter<Format>
    private var piece = Buffer()
    private var offset = 0

    init(_ format: Format) { cutter = FrameCutter(format) }

    var isInFrame: Bool { cutter.isInFrame }

    /// When there is no frame left of what came before.
    func append(_ piece: Buffer) {
        self.piece = piece
        offset = 0
    }

    func next() throws(FrameError) -> Buffer? {
        let piece = piece
        switch try cutter.next(in: ReadBytes(lending: piece), from: &offset) {
        case .none: return nil
        case .here(let range): return piece[range]
        case .kept(let frame): return frame
        }
    }
}
