internal import CTransport

/// A queued write, and at the same time its promise. 48 bytes of plain memory, so that queueing one counts no reference
/// and allocates nothing.
struct OutboundEntry: BitwiseCopyable {
    /// Where the bytes are. Of a file region: nowhere yet, it is read when its turn comes.
    var start: UnsafeRawPointer
    /// How many there are in all.
    var count: Int
    /// What keeps the bytes alive: a tagged pointer, see ``OutboundOwner``.
    var owner: UInt
    /// Who wants to know.
    var completion: WriteCompletion
    var isCancelled: Bool
    var isFile: Bool

    init(_ start: UnsafeRawPointer, _ count: Int, _ owner: UInt, _ completion: WriteCompletion, isFile: Bool = false) {
        self.start = start
        self.count = count
        self.owner = owner
        self.completion = completion
        isCancelled = false
        self.isFile = isFile
    }

    /// What the bytes that still are to be counted weigh in memory: of a file region, its window.
    var weight: Int { isFile ? FileRegion.weight(of: count) : count }

    /// The region of a file entry.
    var file: FileRegion? { isFile ? OutboundOwner.file(owner) : nil }
}

/// What keeps the bytes of an entry alive, in one word: the two lowest bits say what the rest points to.
enum OutboundOwner {
    static let nobody: UInt = 0
    private static let mask: UInt = 3

    @inline(__always)
    static func block(_ block: UnsafeMutablePointer<OutboundMemory.Block>) -> UInt { UInt(bitPattern: block) | 1 }
    @inline(__always)
    static func chunk(_ chunk: UnsafeMutablePointer<ct_chunk>) -> UInt { UInt(bitPattern: chunk) | 2 }
    /// Takes a reference to any object.
    @inline(__always)
    static func object<T: AnyObject>(_ object: T) -> UInt {
        UInt(bitPattern: Unmanaged.passRetained(object).toOpaque()) | 3
    }

    static func file(_ owner: UInt) -> FileRegion? {
        UnsafeRawPointer(bitPattern: owner & ~mask).map { Unmanaged<FileRegion>.fromOpaque($0).takeUnretainedValue() }
    }

    @inline(__always)
    static func release(_ owner: UInt, to memory: inout OutboundMemory) {
        guard let pointer = UnsafeMutableRawPointer(bitPattern: owner & ~mask) else { return }
        switch owner & mask {
        case 1: memory.release(pointer.assumingMemoryBound(to: OutboundMemory.Block.self))
        case 2: ct_chunk_release(pointer.assumingMemoryBound(to: ct_chunk.self))
        default: Unmanaged<AnyObject>.fromOpaque(pointer).release()
        }
    }
}
