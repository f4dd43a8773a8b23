internal import Glibc

/// Bytes somebody owns: immutable, cheap to copy (a reference), safe to hand to any thread.
///
/// Received bytes become a `Buffer` by ``Buffer/init(_:)-(ReadBytes)``, as a rule without a copy. The memory goes back when the last
/// copy of the buffer is gone.
///
///     let greeting = Buffer("hello\n")
///     channel.writeAndFlush(greeting)
public struct Buffer: @unchecked Sendable {
    /// What keeps the bytes: a ``BufferStorage``, or somebody else's object. `nil` when there are none, or when they are a
    /// part of the program.
    let owner: AnyObject?
    let start: UnsafeRawPointer?
    /// The number of bytes.
    public let count: Int

    init(owner: AnyObject?, start: UnsafeRawPointer, count: Int) {
        self.owner = owner
        self.start = start
        self.count = count
    }

    /// No bytes; allocates nothing.
    public init() {
        owner = nil
        start = nil
        count = 0
    }

    /// A copy of the bytes of `span`.
    public init(copying span: RawSpan) {
        self = span.withUnsafeBytes { Buffer(copying: $0) }
    }

    /// A copy of `bytes`.
    public init(copying bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress, bytes.count > 0 else {
            self.init()
            return
        }
        let storage = BufferStorage(size: bytes.count)
        memcpy(storage.memory, base, bytes.count)
        self.init(owner: storage, start: UnsafeRawPointer(storage.memory), count: bytes.count)
    }

    /// A copy of `bytes`.
    public init(_ bytes: [UInt8]) {
        self = bytes.withUnsafeBytes { Buffer(copying: $0) }
    }

    /// The UTF-8 bytes of `text`.
    public init(_ text: String) {
        var text = text
        self = text.withUTF8 { Buffer(copying: UnsafeRawBufferPointer($0)) }
    }

    /// A text that is part of the program: its UTF-8 bytes are sent from where they are. Allocates nothing.
    ///
    ///     static let greeting: Buffer = "220 ready\r\n"
    public init(_ text: StaticString) {
        guard text.utf8CodeUnitCount > 0, text.hasPointerRepresentation else {
            self.init(text.description)
            return
        }
        self.init(owner: nil, start: UnsafeRawPointer(text.utf8Start), count: text.utf8CodeUnitCount)
    }

    /// Bytes in memory of somebody else's, such as a mapped file or a library's: neither copied nor freed. Allocates nothing.
    ///
    /// - Parameters:
    ///   - bytes: must be readable, and stay as they are, until `owner` is gone.
    ///   - owner: kept until the last copy of this buffer, and the kernel, need the bytes no more; let go of on whatever thread that
    ///     happens. Its `deinit` frees the memory.
    public init(adopting bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable) {
        guard let base = bytes.baseAddress, bytes.count > 0 else {
            self.init()
            return
        }
        self.init(owner: owner, start: base, count: bytes.count)
    }

    /// A new buffer of at most `capacity` bytes, written by `body` straight into its memory. One allocation.
    ///
    ///     let reply = Buffer(capacity: 4 + payload.count) { output in
    ///         output.append(UInt32(payload.count).bigEndian, as: UInt32.self)
    ///         output.append(payload)
    ///     }
    ///
    /// - Parameters:
    ///   - capacity: how many bytes there is room for.
    ///   - body: appends to memory that is empty; more than `capacity` bytes stop the program, as with any span of the
    ///     standard library (`freeCapacity` tells how much is left).
    public init<Failure: Error>(
        capacity: Int, initializingWith body: (inout OutputRawSpan) throws(Failure) -> Void
    ) throws(Failure) {
        let capacity = max(0, capacity)
        let storage = BufferStorage(size: capacity)
        let memory = UnsafeMutableRawBufferPointer(start: storage.memory, count: capacity)
        var output = unsafe OutputRawSpan(buffer: memory, initializedCount: 0)
        try body(&output)
        let written = unsafe output.finalize(for: memory)
        self.init(owner: storage, start: UnsafeRawPointer(storage.memory), count: written)
    }

    /// True when there are no bytes.
    public var isEmpty: Bool { count == 0 }

    /// The bytes, readable while the buffer lives.
    public var span: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = unsafe RawSpan(_unsafeStart: start ?? Buffer.nowhere, byteCount: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Calls `body` with the bytes; the pointer is valid during the call only.
    public func withUnsafeBytes<R, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> R
    ) throws(Failure) -> R {
        defer { withExtendedLifetime(owner) {} }
        return try body(UnsafeRawBufferPointer(start: start, count: count))
    }

    /// The bytes of `range` (offsets from 0), sharing this buffer's memory. What lies outside is left out.
    public subscript(range: Range<Int>) -> Buffer {
        let range = range.clamped(to: 0..<count)
        guard let start, !range.isEmpty else { return Buffer() }
        return Buffer(owner: owner, start: start + range.lowerBound, count: range.count)
    }

    // An address for the span of an empty buffer.
    nonisolated(unsafe) private static let nowhere = UnsafeRawPointer(
        UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1))
}

extension Buffer: ExpressibleByStringLiteral {
    /// A literal: its UTF-8 bytes, sent from where they are. Allocates nothing.
    public init(stringLiteral text: StaticString) { self.init(text) }
}

extension Buffer: Hashable, CustomStringConvertible {
    /// True when both hold the same bytes.
    public static func == (left: Buffer, right: Buffer) -> Bool {
        guard left.count == right.count else { return false }
        guard let a = left.start, let b = right.start, left.count > 0 else { return true }
        return a == b || memcmp(a, b, left.count) == 0
    }

    /// Feeds the bytes, whoever owns them: as long a time as there are bytes.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(count)
        withUnsafeBytes { hasher.combine(bytes: $0) }
    }

    /// How many bytes there are, and the first 16 as hexadecimal numbers: `5 bytes: 68 65 6c 6c 6f`.
    public var description: String {
        let shown = withUnsafeBytes { bytes in
            bytes.prefix(16).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
        }
        let size = count == 1 ? "1 byte" : "\(count) bytes"
        return isEmpty ? size : "\(size): \(shown)\(count > 16 ? " ..." : "")"
    }
}

extension Array where Element == UInt8 {
    /// A copy of the buffer's bytes.
    public init(_ buffer: Buffer) {
        self = buffer.withUnsafeBytes { [UInt8]($0) }
    }

    /// A copy of lent bytes, which may be kept.
    public init(_ bytes: borrowing ReadBytes) {
        self = bytes.withUnsafeBytes { [UInt8]($0) }
    }

    /// Appends a copy of lent bytes: for whoever waits for the rest of a message.
    public mutating func append(contentsOf bytes: borrowing ReadBytes) {
        bytes.withUnsafeBytes { append(contentsOf: $0) }
    }
}

extension String {
    /// The buffer's bytes read as UTF-8; what is not valid is replaced by U+FFFD.
    public init(_ buffer: Buffer) {
        self = buffer.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    /// Lent bytes read as UTF-8; what is not valid is replaced by U+FFFD.
    public init(_ bytes: borrowing ReadBytes) {
        self = bytes.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }
}
