internal import CTransport

/// Bytes that are lent for the length of a call: as they came from the kernel on their way in, as somebody writes them on their way
/// out. The compiler sees to it that they do not outlive the call.
///
/// Look at them through ``span``, send them on with ``ChannelContext/write(_:tag:)-(ReadBytes,_)``, or keep them with
/// ``Buffer/init(_:)-(ReadBytes)``. `String(bytes)`, `[UInt8](bytes)` and `array.append(contentsOf: bytes)` copy them.
public struct ReadBytes: ~Escapable {
    let start: UnsafeRawPointer
    /// The number of bytes. 0 only when a handler has passed on an empty buffer: received bytes are at least one.
    public let count: Int
    let chunk: UnsafeMutablePointer<ct_chunk>?
    let owner: Unmanaged<AnyObject>?

    @_lifetime(immortal)
    init(start: UnsafeRawPointer, count: Int, chunk: UnsafeMutablePointer<ct_chunk>) {
        self.start = start
        self.count = count
        self.chunk = chunk
        owner = nil
    }

    /// Lends the bytes of a buffer: who keeps them shares its memory.
    @_lifetime(borrow buffer)
    init(lending buffer: borrowing Buffer) {
        start = buffer.start ?? UnsafeRawPointer(bitPattern: 1)!
        count = buffer.count
        chunk = nil
        owner = buffer.owner.map { Unmanaged.passUnretained($0) } ?? (buffer.isEmpty ? nil : Program.owner)
    }

    /// Lends the bytes of a span: who keeps them copies them.
    @_lifetime(copy span)
    init(lending span: RawSpan) {
        start = span.withUnsafeBytes { $0.baseAddress } ?? UnsafeRawPointer(bitPattern: 1)!
        count = span.byteCount
        chunk = nil
        owner = nil
    }

    @_lifetime(copy whole)
    private init(_ range: Range<Int>, of whole: ReadBytes) {
        start = whole.start + range.lowerBound
        count = range.count
        chunk = whole.chunk
        owner = whole.owner
    }

    /// The bytes of `range` (offsets from 0), lent for as long. What lies outside is left out.
    ///
    ///     context.write(bytes[0..<4])
    ///     let body = Buffer(bytes[4..<bytes.count])
    public subscript(range: Range<Int>) -> ReadBytes {
        @_lifetime(copy self)
        get { ReadBytes(range.clamped(to: 0..<count), of: self) }
    }

    /// The bytes.
    public var span: RawSpan {
        @_lifetime(copy self)
        get {
            let span = unsafe RawSpan(_unsafeStart: start, byteCount: count)
            return unsafe _overrideLifetime(span, copying: self)
        }
    }

    /// Calls `body` with the bytes; the pointer is valid during the call only.
    public func withUnsafeBytes<R, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> R
    ) throws(Failure) -> R {
        try body(UnsafeRawBufferPointer(start: start, count: count))
    }
}

extension Buffer {
    /// Keeps lent bytes beyond the call.
    ///
    /// What is received is not copied from ``LoopOptions/shareThreshold`` on: the buffer shares the receive memory, and the kernel gets
    /// a fresh chunk in exchange. Smaller pieces are copied out, so that one slow consumer never pins a whole chunk; so is
    /// everything while half of the loop's receive budget is out. What somebody passed on or wrote as a ``Buffer`` is never copied,
    /// what was a span or a text always.
    public init(_ bytes: borrowing ReadBytes) {
        let (start, count) = (bytes.start, bytes.count)
        if count == 0 {
            self.init()
        } else if let owner = bytes.owner {
            self.init(owner: owner.takeUnretainedValue(), start: start, count: count)
        } else if let chunk = bytes.chunk, ct_chunk_is_worth_sharing(chunk, UInt64(count)) {
            self.init(owner: BufferStorage.owner(of: chunk), start: start, count: count)
        } else {
            self.init(copying: UnsafeRawBufferPointer(start: start, count: count))
        }
    }
}

/// Stands for the owner of bytes that are a part of the program, so that nobody takes them for a span's.
private final class Program: Sendable {
    private static let program = Program()
    static var owner: Unmanaged<AnyObject> { Unmanaged.passUnretained(program) }
}
