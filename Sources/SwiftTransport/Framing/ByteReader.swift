internal import Glibc

/// Which byte of an integer comes first.
public enum ByteOrder: Sendable, Hashable {
    /// The most significant, as protocols of the internet have it.
    case big
    /// The least significant.
    case little
}

/// Reads bytes from front to back: integers of either byte order, texts, parts. The bytes are lent, as ``ReadBytes`` are: what is to be
/// kept becomes a ``Buffer``, a `String` or an array.
///
///     var reader = ByteReader(bytes)
///     guard let kind: UInt8 = reader.readInteger(), let id: UInt32 = reader.readInteger() else { return nil }
///     let name = reader.readString(reader.count)
///
/// It never reads beyond the end: what is not all there is `nil`, and nothing has been read.
public struct ByteReader: ~Escapable {
    private let bytes: ReadBytes
    /// How many bytes have been read.
    public private(set) var offset = 0

    /// From the beginning of lent bytes.
    @_lifetime(copy bytes)
    public init(_ bytes: ReadBytes) { self.bytes = bytes }

    /// From the beginning of a span.
    @_lifetime(copy span)
    public init(_ span: RawSpan) { bytes = ReadBytes(lending: span) }

    /// From the beginning of a buffer.
    @_lifetime(borrow buffer)
    public init(_ buffer: borrowing Buffer) { bytes = ReadBytes(lending: buffer) }

    /// How many bytes are left.
    public var count: Int { bytes.count - offset }
    /// True when none are.
    public var isEmpty: Bool { count == 0 }

    /// The next integer; `nil` when there are not enough bytes.
    @_lifetime(self: copy self)
    public mutating func readInteger<T: FixedWidthInteger & BitwiseCopyable>(
        _ order: ByteOrder = .big, as type: T.Type = T.self
    ) -> T? {
        guard let value = peekInteger(order, as: type) else { return nil }
        offset += MemoryLayout<T>.size
        return value
    }

    /// The integer that begins `distance` bytes further on, which is not read by that; `nil` when there are not enough bytes.
    public func peekInteger<T: FixedWidthInteger & BitwiseCopyable>(
        _ order: ByteOrder = .big, at distance: Int = 0, as type: T.Type = T.self
    ) -> T? {
        guard distance >= 0, count - MemoryLayout<T>.size >= distance else { return nil }
        let raw = bytes.start.loadUnaligned(fromByteOffset: offset + distance, as: T.self)
        return order == .big ? T(bigEndian: raw) : T(littleEndian: raw)
    }

    /// The next `count` bytes, lent for as long as the others; `nil` when there are not as many.
    @_lifetime(copy self) @_lifetime(self: copy self)
    public mutating func readBytes(_ count: Int) -> ReadBytes? {
        guard count >= 0, count <= self.count else { return nil }
        let part = bytes[offset..<offset + count]
        offset += count
        return part
    }

    /// The next `count` bytes to keep, as a rule without a copy; `nil` when there are not as many.
    @_lifetime(self: copy self)
    public mutating func readBuffer(_ count: Int) -> Buffer? {
        guard let part = readBytes(count) else { return nil }
        return Buffer(part)
    }

    /// The next `count` bytes as UTF-8, what is not valid replaced by U+FFFD; `nil` when there are not as many.
    @_lifetime(self: copy self)
    public mutating func readString(_ count: Int) -> String? {
        guard let part = readBytes(count) else { return nil }
        return String(part)
    }

    /// Passes over `count` bytes. False when there are not as many, and none is passed over.
    @_lifetime(self: copy self) @discardableResult
    public mutating func skip(_ count: Int) -> Bool {
        guard count >= 0, count <= self.count else { return false }
        offset += count
        return true
    }

    /// How many bytes come before the next `byte`; `nil` when it does not come.
    public func distance(to byte: UInt8) -> Int? {
        guard count > 0, let found = memchr(bytes.start + offset, Int32(byte), count) else { return nil }
        return UnsafeRawPointer(found) - bytes.start - offset
    }
}
