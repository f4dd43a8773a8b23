internal import CTransport

/// Bytes as they came from the kernel, lent for the length of a call. The compiler sees to it that they do not outlive it.
///
/// Look at them through ``span``, send them on with ``ChannelContext/write(_:tag:)-(ReadBytes,_)``, or keep them with
/// ``take()``.
public struct ReadBytes: ~Escapable {
    let start: UnsafeRawPointer
    /// The number of bytes. 0 only when a handler has passed on an empty buffer: received bytes are at least one.
    public let count: Int
    let chunk: UnsafeMutablePointer<ct_chunk>?
    let storage: Unmanaged<BufferStorage>?

    @_lifetime(immortal)
    init(start: UnsafeRawPointer, count: Int, chunk: UnsafeMutablePointer<ct_chunk>) {
        self.start = start
        self.count = count
        self.chunk = chunk
        storage = nil
    }

    /// Lends the bytes of a buffer: how a handler passes on bytes it kept or made.
    @_lifetime(borrow buffer)
    init(lending buffer: borrowing Buffer) {
        start = buffer.start ?? UnsafeRawPointer(bitPattern: 1)!
        count = buffer.count
        chunk = nil
        storage = buffer.storage.map { Unmanaged.passUnretained($0) }
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

    /// Keeps the bytes beyond the call.
    ///
    /// From ``LoopOptions/shareThreshold`` on without a copy: the buffer shares the receive memory, and the kernel gets a
    /// fresh chunk in exchange. Smaller pieces are copied out, so that one slow consumer never pins a whole chunk; so is
    /// everything while half of the loop's receive budget is out.
    public func take() -> Buffer {
        if let storage {
            return Buffer(storage: storage.takeUnretainedValue(), start: start, count: count)
        }
        if let chunk, ct_chunk_is_worth_sharing(chunk, UInt64(count)) {
            return Buffer(storage: BufferStorage.owner(of: chunk), start: start, count: count)
        }
        return Buffer(copying: UnsafeRawBufferPointer(start: start, count: count))
    }
}
