internal import CTransport

/// A queued write, and at the same time its promise. 48 bytes of plain memory, so that queueing one counts no reference
/// and allocates nothing.
struct OutboundEntry {
    /// Where the bytes are.
    var start: UnsafeRawPointer
    /// How many there are in all.
    var count: Int
    /// What keeps the bytes alive: a tagged pointer, see ``OutboundOwner``.
    var owner: UInt
    /// Who wants to know: see ``WriteCompletion``.
    var completion: UInt
    /// What the one who wants to know called it.
    var tag: UInt64
    var completionKind: WriteCompletion.Kind
    var isCancelled: Bool
    var wantsProgress: Bool
}

/// What keeps the bytes of an entry alive, in one word: the two lowest bits say what the rest points to.
enum OutboundOwner {
    static let nobody: UInt = 0
    private static let mask: UInt = 3

    @inline(__always)
    static func block(_ block: UnsafeMutablePointer<OutboundMemory.Block>) -> UInt { UInt(bitPattern: block) | 1 }
    @inline(__always)
    static func chunk(_ chunk: UnsafeMutablePointer<ct_chunk>) -> UInt { UInt(bitPattern: chunk) | 2 }
    @inline(__always)
    static func storage(_ storage: Unmanaged<BufferStorage>) -> UInt { UInt(bitPattern: storage.toOpaque()) | 3 }

    @inline(__always)
    static func release(_ owner: UInt, to memory: inout OutboundMemory) {
        guard let pointer = UnsafeMutableRawPointer(bitPattern: owner & ~mask) else { return }
        switch owner & mask {
        case 1: memory.release(pointer.assumingMemoryBound(to: OutboundMemory.Block.self))
        case 2: ct_chunk_release(pointer.assumingMemoryBound(to: ct_chunk.self))
        default: Unmanaged<BufferStorage>.fromOpaque(pointer).release()
        }
    }
}
