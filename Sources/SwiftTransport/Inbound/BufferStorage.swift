internal import CTransport

/// Who owns the bytes of a ``Buffer``: a block of memory of its own, or a chunk of receive memory it shares with others.
/// Freed on whatever thread the last reference goes away.
final class BufferStorage: @unchecked Sendable {
    let memory: UnsafeMutableRawPointer
    private let size: Int
    private let chunk: UnsafeMutablePointer<ct_chunk>?

    /// A block of memory; stops the program when there is none, as Swift's own allocations do.
    init(size: Int) {
        memory = ct_memory_require(UInt64(max(1, size)))
        self.size = max(1, size)
        chunk = nil
    }

    /// Shares `chunk`.
    init(sharing chunk: UnsafeMutablePointer<ct_chunk>) {
        ct_chunk_retain(chunk)
        memory = UnsafeMutableRawPointer(chunk.pointee.base)
        size = 0
        self.chunk = chunk
    }

    deinit {
        if let chunk { ct_chunk_release(chunk) } else { ct_memory_free(memory, UInt64(size)) }
    }

    /// The one owner of all slices of `chunk`, made when the first slice is kept: an allocation per chunk and not per
    /// message. The loop's thread only.
    static func owner(of chunk: UnsafeMutablePointer<ct_chunk>) -> BufferStorage {
        if let owner = chunk.pointee.owner { return Unmanaged<BufferStorage>.fromOpaque(owner).takeUnretainedValue() }
        let owner = BufferStorage(sharing: chunk)
        chunk.pointee.owner = Unmanaged.passRetained(owner).toOpaque()
        return owner
    }

    /// The kernel is done with `chunk`: gives up the loop's reference and the owner's. The loop's thread only.
    @inline(__always)
    static func finish(_ chunk: UnsafeMutablePointer<ct_chunk>) {
        if let owner = chunk.pointee.owner {
            chunk.pointee.owner = nil
            Unmanaged<BufferStorage>.fromOpaque(owner).release()
        }
        ct_chunk_release(chunk)
    }
}
