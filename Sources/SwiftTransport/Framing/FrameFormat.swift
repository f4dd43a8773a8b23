/// How a stream is cut into frames.
///
/// Made by the library: ``FrameFormat/lengthField(_:)``, ``FrameFormat/lines(limit:)``, ``FrameFormat/fixed(_:)``,
/// ``FrameFormat/delimited(by:limit:)``. Whoever has another one writes a type of this protocol.
public protocol FrameFormat: Sendable {
    /// Where the first frame of `bytes` ends.
    ///
    /// - Parameters:
    ///   - bytes: at least one byte, from the beginning of a frame.
    ///   - searched: so many of them were there when this was last asked of the same frame, and it was not all there.
    /// - Returns: the frame, or how many bytes it has at the least.
    /// - Throws: what makes the stream no stream of frames, before anything is allocated for it.
    func firstFrame(in bytes: RawSpan, searched: Int) throws(FrameError) -> FrameSearch
}

/// What ``FrameFormat/firstFrame(in:searched:)`` has found.
public enum FrameSearch: Sendable, Hashable {
    /// The frame is there.
    ///
    /// - Parameters:
    ///   - content: which bytes are handed on.
    ///   - length: how many bytes it has with everything around them; at least one.
    case found(content: Range<Int>, length: Int)
    /// More bytes are needed: so many in all, at the least.
    case needs(Int)
}

/// What is wrong with a stream of frames. Nothing behind it can be understood, so the connection ends.
public struct FrameError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kinds of it.
    public enum Code: Sendable, Hashable {
        /// A frame is longer than the limit.
        case tooLong
        /// The bytes are none of the format.
        case malformed
        /// The stream ended within a frame.
        case incomplete
    }
    /// What is wrong.
    public let code: Code
    /// In words.
    public let description: String

    /// An error of a format.
    public init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }

    static func tooLong(_ length: some BinaryInteger, _ limit: Int) -> FrameError {
        FrameError(
            .tooLong,
            "a frame of \(length) bytes or more, and the limit is \(limit): the peer speaks another protocol, or raise the limit"
        )
    }
}

// MARK: The formats

/// Frames that begin with their length: see ``FrameFormat/lengthField(_:)``.
public struct LengthFieldFormat: FrameFormat, Hashable {
    /// The width of the field in bytes: 1, 2, 3, 4 or 8.
    public var width: Int
    /// The byte order of the field.
    public var order: ByteOrder
    /// How many bytes come before the field.
    public var offset: Int
    /// What is added to the field's value to make the number of bytes behind it: -`width` when the field counts itself.
    public var adjustment: Int
    /// How many bytes at the beginning of a frame are not handed on: `offset` + `width` is the whole header.
    public var stripped: Int
    /// How many bytes a frame may have, with its header.
    public var limit: Int

    /// The defaults: four bytes in network order that count what is behind them, not handed on, in frames of at most 1 MiB.
    public init(
        width: Int = 4, order: ByteOrder = .big, offset: Int = 0, adjustment: Int = 0, stripped: Int? = nil,
        limit: ByteCount = .mebibytes(1)
    ) {
        self.width = [1, 2, 3, 4, 8].contains(width) ? width : 4
        self.order = order
        self.offset = max(0, offset)
        self.adjustment = adjustment
        self.stripped = max(0, stripped ?? self.offset + self.width)
        self.limit = limit.bytes
    }

    /// As the protocol says.
    public func firstFrame(in bytes: RawSpan, searched: Int) throws(FrameError) -> FrameSearch {
        let header = offset + width
        guard bytes.byteCount >= header else { return .needs(header) }
        let value = field(bytes)
        let (behind, overflow) = Int(clamping: value).addingReportingOverflow(adjustment)
        guard !overflow, value <= UInt64(Int.max) else { throw .tooLong(value, limit) }
        guard behind >= 0 else {
            throw FrameError(.malformed, "a length field says \(value), which is less than it counts itself")
        }
        guard behind <= limit - header else { throw .tooLong(behind, limit) }
        let length = header + behind
        guard length >= stripped else {
            throw FrameError(.malformed, "a frame of \(length) bytes is shorter than its header of \(stripped)")
        }
        return bytes.byteCount < length ? .needs(length) : .found(content: stripped..<length, length: length)
    }

    private func field(_ bytes: RawSpan) -> UInt64 {
        var value: UInt64 = 0
        bytes.withUnsafeBytes { bytes in
            for index in 0..<width {
                let byte = bytes[offset + (order == .big ? index : width - 1 - index)]
                value = value << 8 | UInt64(byte)
            }
        }
        return value
    }
}

/// Lines: see ``FrameFormat/lines(limit:)``.
public struct LineFormat: FrameFormat, Hashable {
    /// How many bytes a line may have, with its end.
    public var limit: Int

    /// Lines of at most 64 KiB.
    public init(limit: ByteCount = .kibibytes(64)) { self.limit = limit.bytes }

    /// As the protocol says.
    public func firstFrame(in bytes: RawSpan, searched: Int) throws(FrameError) -> FrameSearch {
        var reader = ByteReader(bytes)
        reader.skip(searched)
        guard let distance = reader.distance(to: 10) else {
            guard bytes.byteCount < limit else { throw .tooLong(bytes.byteCount + 1, limit) }
            return .needs(bytes.byteCount + 1)
        }
        let end = searched + distance
        guard end < limit else { throw .tooLong(end + 1, limit) }
        let hasReturn = end > 0 && bytes.unsafeLoad(fromByteOffset: end - 1, as: UInt8.self) == 13
        return .found(content: 0..<(hasReturn ? end - 1 : end), length: end + 1)
    }
}

/// Frames of one length: see ``FrameFormat/fixed(_:)``.
public struct FixedFormat: FrameFormat, Hashable {
    /// How many bytes each frame has; at least one.
    public var length: Int

    /// Frames of `length` bytes.
    public init(_ length: Int) { self.length = max(1, length) }

    /// As the protocol says.
    public func firstFrame(in bytes: RawSpan, searched: Int) throws(FrameError) -> FrameSearch {
        bytes.byteCount < length ? .needs(length) : .found(content: 0..<length, length: length)
    }
}

/// Frames that end with certain bytes: see ``FrameFormat/delimited(by:limit:)``.
public struct DelimiterFormat: FrameFormat, Hashable {
    /// What a frame ends with; at least one byte.
    public let delimiter: [UInt8]
    /// How many bytes a frame may have, with its end.
    public var limit: Int

    /// Frames that end with `delimiter`, which is not handed on. Without one: with a zero byte.
    public init(_ delimiter: [UInt8], limit: ByteCount = .mebibytes(1)) {
        self.delimiter = delimiter.isEmpty ? [0] : delimiter
        self.limit = limit.bytes
    }

    /// As the protocol says.
    public func firstFrame(in bytes: RawSpan, searched: Int) throws(FrameError) -> FrameSearch {
        // Its beginning may have been the end of what was there.
        var at = max(0, searched - delimiter.count + 1)
        while at + delimiter.count <= bytes.byteCount {
            var reader = ByteReader(bytes)
            reader.skip(at)
            guard let distance = reader.distance(to: delimiter[0]) else { break }
            at += distance
            guard at + delimiter.count <= bytes.byteCount else { break }
            if matches(bytes, at) {
                guard at + delimiter.count <= limit else { throw .tooLong(at + delimiter.count, limit) }
                return .found(content: 0..<at, length: at + delimiter.count)
            }
            at += 1
        }
        guard bytes.byteCount < limit else { throw .tooLong(bytes.byteCount + 1, limit) }
        return .needs(bytes.byteCount + 1)
    }

    private func matches(_ bytes: RawSpan, _ at: Int) -> Bool {
        bytes.withUnsafeBytes { bytes in
            for index in delimiter.indices where bytes[at + index] != delimiter[index] { return false }
            return true
        }
    }
}

extension FrameFormat where Self == LengthFieldFormat {
    /// Each frame begins with its length. Default: four bytes in network order, and at most 1 MiB.
    ///
    ///     FrameHandler(.lengthField())
    ///     FrameHandler(.lengthField(.init(width: 2, order: .little, limit: .kibibytes(16))))
    public static func lengthField(_ format: LengthFieldFormat = LengthFieldFormat()) -> LengthFieldFormat { format }
}

extension FrameFormat where Self == LineFormat {
    /// Each frame is a line: it ends with a line feed, which is not handed on, nor is a carriage return before it.
    public static func lines(limit: ByteCount = .kibibytes(64)) -> LineFormat { LineFormat(limit: limit) }
}

extension FrameFormat where Self == FixedFormat {
    /// Each frame has `length` bytes.
    public static func fixed(_ length: Int) -> FixedFormat { FixedFormat(length) }
}

extension FrameFormat where Self == DelimiterFormat {
    /// Each frame ends with `delimiter`, which is not handed on.
    public static func delimited(by delimiter: [UInt8], limit: ByteCount = .mebibytes(1)) -> DelimiterFormat {
        DelimiterFormat(delimiter, limit: limit)
    }
}
