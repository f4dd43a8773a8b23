internal import CTransport

/// Where small writes are copied to: blocks of 4 KiB, filled one write behind the other, so that many small writes leave
/// as one piece. And the queues of channels that have something to send. Both are lent by the loop and come back as soon
/// as they are empty: an idle channel holds neither.
struct OutboundMemory {
    /// A block, with this header at its start. The loop's thread only.
    struct Block {
        var next: UnsafeMutablePointer<Block>?
        var used: UInt32
        /// Entries whose bytes lie here, plus one while the queue still appends to it.
        var references: UInt32
    }

    static let blockSize = 4096
    static let blockCapacity = blockSize - MemoryLayout<Block>.size
    /// Spare blocks and queues beyond these are freed.
    private static let spareBlocksLimit = 256
    private static let spareQueuesLimit = 1024

    /// Writes up to here are copied into blocks: owned bytes, and lent ones.
    let copyLimit: Int
    let lentCopyLimit: Int
    private var spareBlocks: UnsafeMutablePointer<Block>?
    private var spareBlockCount = 0
    private var spareQueues: UnsafeMutablePointer<OutboundQueue>?
    private var spareQueueCount = 0

    init(_ options: LoopOptions) {
        copyLimit = min(options.copyLimit.bytes, Self.blockCapacity)
        lentCopyLimit = min(options.shareThreshold.bytes - 1, Self.blockCapacity)
    }

    mutating func takeBlock() -> UnsafeMutablePointer<Block> {
        if let block = spareBlocks {
            spareBlocks = block.pointee.next
            spareBlockCount &-= 1
            block.pointee = Block(next: nil, used: 0, references: 1)
            return block
        }
        let memory = ct_memory_require(UInt64(Self.blockSize))
        let block = memory.assumingMemoryBound(to: Block.self)
        block.initialize(to: Block(next: nil, used: 0, references: 1))
        return block
    }

    mutating func release(_ block: UnsafeMutablePointer<Block>) {
        assert(block.pointee.references > 0 && Int(block.pointee.used) <= Self.blockCapacity)
        block.pointee.references &-= 1
        guard block.pointee.references == 0 else { return }
        guard spareBlockCount < Self.spareBlocksLimit else {
            ct_memory_free(block, UInt64(Self.blockSize))
            return
        }
        block.pointee.next = spareBlocks
        spareBlocks = block
        spareBlockCount &+= 1
    }

    mutating func takeQueue() -> OutboundQueue {
        guard spareQueueCount > 0, let spareQueues else { return OutboundQueue() }
        spareQueueCount &-= 1
        return spareQueues[spareQueueCount]
    }

    /// The queue must be empty.
    mutating func giveBack(_ queue: OutboundQueue) {
        assert(queue.isEmpty)
        if spareQueues == nil { spareQueues = .allocate(capacity: Self.spareQueuesLimit) }
        guard spareQueueCount < Self.spareQueuesLimit, queue.isSmall else {
            queue.deallocate()
            return
        }
        spareQueues?[spareQueueCount] = queue
        spareQueueCount &+= 1
    }

    /// Frees what is spare.
    mutating func deallocate() {
        var block = spareBlocks
        while let current = block {
            block = current.pointee.next
            ct_memory_free(current, UInt64(Self.blockSize))
        }
        for index in 0..<spareQueueCount { spareQueues?[index].deallocate() }
        spareQueues?.deallocate()
        (spareBlocks, spareBlockCount, spareQueues, spareQueueCount) = (nil, 0, nil, 0)
    }
}
