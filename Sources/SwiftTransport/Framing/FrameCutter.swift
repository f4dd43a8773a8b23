/// Cuts what comes in pieces into frames. What is complete is not copied; what is not is kept until the rest is there, in memory that grows
/// with what has come and not with what a peer has announced.
struct FrameCutter<Format: FrameFormat>: ~Copyable {
    private let format: Format
    private var kept = ByteBuffer()
    /// How many bytes of `kept` have been searched.
    private var searched = 0

    /// Copied at least towards a frame whose length nobody knows yet.
    private static var step: Int { 256 }

    init(_ format: Format) { self.format = format }

    enum Cut {
        /// There is no other in these bytes.
        case none
        /// A range of the bytes.
        case here(Range<Int>)
        /// One that began in bytes before.
        case kept(Buffer)
    }

    /// A frame has begun, and is not all there.
    var isInFrame: Bool { !kept.isEmpty }

    /// The next frame of what was kept and of the bytes from `offset` on, which becomes where it ends. When there is no other, what is
    /// left is kept.
    mutating func next(in bytes: ReadBytes, from offset: inout Int) throws(FrameError) -> Cut {
        while !kept.isEmpty {
            switch try format.firstFrame(in: kept.span, searched: searched) {
            case .found(let content, let length):
                searched = 0
                guard let frame = kept.readBuffer(length) else { throw Self.impossible }
                return .kept(frame[content])
            case .needs(let count):
                searched = kept.count
                guard offset < bytes.count else { return .none }
                let more = min(bytes.count - offset, max(count - kept.count, Self.step))
                kept.append(bytes[offset..<offset + more])
                offset += more
            }
        }
        guard offset < bytes.count else { return .none }
        let rest = bytes[offset..<bytes.count]
        switch try format.firstFrame(in: rest.span, searched: 0) {
        case .found(let content, let length):
            let begin = offset
            guard length > 0, length <= rest.count else { throw Self.impossible }
            offset += length
            return .here(begin + content.lowerBound..<begin + content.upperBound)
        case .needs:
            kept.append(rest)
            searched = rest.count
            offset = bytes.count
            return .none
        }
    }

    /// Nobody wants more frames for now: the bytes from `offset` on are kept.
    mutating func keep(_ bytes: ReadBytes, from offset: Int) {
        guard offset < bytes.count else { return }
        kept.append(bytes[offset..<bytes.count])
    }

    private static var impossible: FrameError {
        FrameError(
            .malformed, "the format found a frame beyond the bytes there are: a mistake in its firstFrame(in:searched:)"
        )
    }
}
