internal import Glibc

/// Bytes that are put in at the end and taken out at the front, in memory that grows: for whoever collects a message, or composes one.
///
///     var collected = ByteBuffer()
///     collected.append(bytes)                                             // ReadBytes, buffers, spans, texts, integers
///     while let length: UInt16 = collected.peekInteger(), collected.count >= 2 + Int(length) {
///         collected.skip(2)
///         handle(collected.readBuffer(Int(length))!)                      // shares the memory
///     }
///
/// It has one owner, and is not copied by accident. What it gives out as ``Buffer`` shares its memory and never changes: bytes that have
/// been put in are not written to again.
public struct ByteBuffer: ~Copyable {
    private var storage: BufferStorage?
    private var capacity = 0
    private var first = 0
    private var end = 0

    /// Empty. Memory is taken for the first byte.
    public init() {}

    /// Empty, with room for `capacity` bytes.
    public init(capacity: Int) { reserve(capacity) }

    /// How many bytes there are to be read.
    public var count: Int { end - first }
    /// True when there are none.
    public var isEmpty: Bool { count == 0 }

    /// The bytes, readable until the next change.
    public var span: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = unsafe RawSpan(_unsafeStart: start, byteCount: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    private var start: UnsafeRawPointer {
        storage.map { UnsafeRawPointer($0.memory + first) } ?? UnsafeRawPointer(bitPattern: 1)!
    }

    // MARK: Putting in

    /// Makes room for `count` more bytes, so that putting them in takes no further memory. Memory grows by half of itself at the least.
    public mutating func reserve(_ count: Int) {
        guard count > capacity - end else { return }
        let live = self.count
        // What was read may be in somebody's hands, so nothing is moved within a block.
        let size = max(live + count, live + live / 2, 64)
        let fresh = BufferStorage(size: size)
        if live > 0 { memcpy(fresh.memory, start, live) }
        storage = fresh
        capacity = size
        first = 0
        end = live
    }

    /// Puts in a copy of `bytes`.
    public mutating func append(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { put($0) }
    }

    /// Puts in a copy of lent bytes.
    public mutating func append(_ bytes: ReadBytes) {
        bytes.withUnsafeBytes { put($0) }
    }

    /// Puts in a copy of `buffer`.
    public mutating func append(_ buffer: Buffer) {
        buffer.withUnsafeBytes { put($0) }
    }

    /// Puts in the UTF-8 bytes of `text`.
    public mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { put(UnsafeRawBufferPointer($0)) }
    }

    /// Puts in the bytes of an integer.
    public mutating func append<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, _ order: ByteOrder = .big) {
        withUnsafeBytes(of: order == .big ? value.bigEndian : value.littleEndian) { put($0) }
    }

    /// Puts in what `body` writes, at most `count` bytes, straight into the memory.
    public mutating func append<Failure: Error>(
        atMost count: Int, _ body: (inout OutputRawSpan) throws(Failure) -> Void
    ) throws(Failure) {
        let count = max(0, count)
        reserve(count)
        guard let storage else { return }
        let memory = UnsafeMutableRawBufferPointer(start: storage.memory + end, count: count)
        var output = unsafe OutputRawSpan(buffer: memory, initializedCount: 0)
        try body(&output)
        end += unsafe output.finalize(for: memory)
    }

    private mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return }
        reserve(bytes.count)
        guard let storage else { return }
        memcpy(storage.memory + end, base, bytes.count)
        end += bytes.count
    }

    // MARK: Taking out

    /// Takes out an integer; `nil` when there are not enough bytes.
    public mutating func readInteger<T: FixedWidthInteger & BitwiseCopyable>(
        _ order: ByteOrder = .big, as type: T.Type = T.self
    ) -> T? {
        guard let value = peekInteger(order, as: type) else { return nil }
        skip(MemoryLayout<T>.size)
        return value
    }

    /// The integer `distance` bytes behind the first one, which stays; `nil` when there are not enough bytes.
    public func peekInteger<T: FixedWidthInteger & BitwiseCopyable>(
        _ order: ByteOrder = .big, at distance: Int = 0, as type: T.Type = T.self
    ) -> T? {
        guard distance >= 0, count - MemoryLayout<T>.size >= distance else { return nil }
        let raw = start.loadUnaligned(fromByteOffset: distance, as: T.self)
        return order == .big ? T(bigEndian: raw) : T(littleEndian: raw)
    }

    /// Takes out the first `count` bytes as a buffer that shares this memory; `nil` when there are not as many.
    public mutating func readBuffer(_ count: Int) -> Buffer? {
        guard count >= 0, count <= self.count else { return nil }
        guard count > 0, let storage else { return Buffer() }
        let buffer = Buffer(owner: storage, start: start, count: count)
        skip(count)
        return buffer
    }

    /// Takes out the first `count` bytes as UTF-8, what is not valid replaced by U+FFFD; `nil` when there are not as many.
    public mutating func readString(_ count: Int) -> String? {
        guard count >= 0, count <= self.count else { return nil }
        defer { skip(count) }
        return String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
    }

    /// Drops the first `count` bytes. False when there are not as many, and none is dropped.
    @discardableResult
    public mutating func skip(_ count: Int) -> Bool {
        guard count >= 0, count <= self.count else { return false }
        first += count
        // The last owner of the block may use it from its beginning again.
        if first == end, isKnownUniquelyReferenced(&storage) {
            first = 0
            end = 0
        }
        return true
    }

    /// Takes out everything, as a buffer that shares the memory.
    public mutating func readAll() -> Buffer { readBuffer(count) ?? Buffer() }

    /// Drops everything, and gives the memory back.
    public mutating func clear() { self = ByteBuffer() }
}
