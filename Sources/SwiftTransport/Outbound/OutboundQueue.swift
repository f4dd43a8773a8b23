internal import CTransport
internal import Glibc

/// The writes of one channel that the kernel has not taken yet, oldest first: a ring of entries in raw memory.
///
/// Flushed entries stand in front, unflushed ones behind; what is flushed cannot be cancelled any more. The queue knows
/// nothing of sockets, water marks and handlers: that is the channel's business. The loop's thread only.
///
/// This is a handle of one word: copies are the same queue, no reference is counted and no access is checked. Whoever made
/// it calls ``deallocate()``: ``OutboundMemory``, which lends it to channels.
struct OutboundQueue {
    private static let initialCapacity = 16

    private struct Storage {
        var entries: UnsafeMutablePointer<OutboundEntry>
        var capacity: Int
        var head = 0
        var count = 0
        var flushedCount = 0
        var headOffset = 0
        var gatheredCount = 0
        var block: UnsafeMutablePointer<OutboundMemory.Block>?
        /// Where the present piece of a file region is; only queues that send files have one.
        var fileWindow: UnsafeMutableRawPointer?
    }

    private let storage: UnsafeMutablePointer<Storage>

    init() {
        storage = .allocate(capacity: 1)
        storage.initialize(
            to: Storage(entries: .allocate(capacity: Self.initialCapacity), capacity: Self.initialCapacity))
    }

    /// The end of the queue and of every copy of this handle. It must be empty and have given back its block.
    func deallocate() {
        assert(isEmpty && storage.pointee.block == nil)
        storage.pointee.entries.deallocate()
        storage.pointee.fileWindow?.deallocate()
        storage.deallocate()
    }

    /// Where it is: which queue it is, and a pointer that is never nil.
    var address: UnsafeRawPointer { UnsafeRawPointer(storage) }

    /// Entries in all, and how many of them, from the front, are flushed.
    var count: Int { storage.pointee.count }
    var flushedCount: Int { storage.pointee.flushedCount }
    /// Bytes of the first entry the kernel has taken already.
    var headOffset: Int { storage.pointee.headOffset }
    /// Entries of which the last gathering laid out at least a part.
    var gatheredCount: Int { storage.pointee.gatheredCount }

    var isEmpty: Bool { count == 0 }
    var hasFlushed: Bool { flushedCount > 0 }
    /// Worth keeping as a spare.
    var isSmall: Bool { storage.pointee.capacity <= 4 * Self.initialCapacity && storage.pointee.fileWindow == nil }

    @inline(__always)
    private func place(_ index: Int) -> UnsafeMutablePointer<OutboundEntry> {
        storage.pointee.entries + ((storage.pointee.head &+ index) & (storage.pointee.capacity &- 1))
    }

    subscript(index: Int) -> OutboundEntry {
        @inline(__always) get { place(index).pointee }
    }

    // MARK: At the back

    @inline(__always)
    func append(_ entry: OutboundEntry) {
        if count == storage.pointee.capacity { grow() }
        place(count).pointee = entry
        storage.pointee.count &+= 1
    }

    private func grow() {
        let larger = UnsafeMutablePointer<OutboundEntry>.allocate(capacity: storage.pointee.capacity * 2)
        for index in 0..<count { (larger + index).initialize(to: self[index]) }
        storage.pointee.entries.deallocate()
        storage.pointee.entries = larger
        storage.pointee.head = 0
        storage.pointee.capacity *= 2
    }

    /// Copies bytes behind those of the previous small write. `count` must not exceed ``OutboundMemory/blockCapacity``.
    @inline(__always)
    func copy(_ bytes: UnsafeRawPointer, _ count: Int, _ memory: inout OutboundMemory) -> (
        UnsafeRawPointer, owner: UInt
    ) {
        assert(count <= OutboundMemory.blockCapacity)
        let block = room(for: count, &memory)
        let place = UnsafeMutableRawPointer(block + 1) + Int(block.pointee.used)
        memcpy(place, bytes, count)
        block.pointee.used &+= UInt32(truncatingIfNeeded: count)
        block.pointee.references &+= 1
        return (UnsafeRawPointer(place), OutboundOwner.block(block))
    }

    @inline(__always)
    private func room(for count: Int, _ memory: inout OutboundMemory) -> UnsafeMutablePointer<OutboundMemory.Block> {
        if let block = storage.pointee.block {
            if Int(block.pointee.used) &+ count <= OutboundMemory.blockCapacity { return block }
            memory.release(block)
        }
        let fresh = memory.takeBlock()
        storage.pointee.block = fresh
        return fresh
    }

    /// Moves the boundary: everything queued so far is to be sent. A repeated flush costs nothing (W11).
    func flush() { storage.pointee.flushedCount = count }

    /// Nothing is to be sent any more.
    func unflush() { storage.pointee.flushedCount = 0 }

    /// Takes an entry out of what will be sent (W12). Its place stays, empty, so that the order does.
    ///
    /// - Parameter first: entries before it stay: what is flushed, or what the kernel may have begun with.
    func cancel(_ index: Int, from first: Int) -> OutboundEntry? {
        guard index >= first, index < count, !self[index].isCancelled else { return nil }
        let place = self.place(index)
        let entry = place.pointee
        place.pointee.isCancelled = true
        place.pointee.count = 0
        place.pointee.owner = OutboundOwner.nobody
        place.pointee.completion = .none
        place.pointee.isFile = false
        return entry
    }

    /// The entry goes on, and nobody is told any more. Returns who would have been.
    func forget(_ index: Int) -> WriteCompletion {
        guard index >= 0, index < count else { return .none }
        let place = self.place(index)
        let completion = place.pointee.completion
        place.pointee.completion = .none
        return completion
    }

    /// Bytes that are to be sent and that the kernel has not taken.
    var unsentBytes: Int {
        (0..<count).reduce(-headOffset) { $0 + (self[$1].isCancelled ? 0 : self[$1].count) }
    }

    /// The entry that was appended last.
    var newest: OutboundEntry? { isEmpty ? nil : self[count &- 1] }

    // MARK: At the front

    var startsWithFile: Bool { count > 0 && self[0].isFile }

    /// The first entry, if none of its bytes are gone.
    var headUntouched: OutboundEntry? { isEmpty || headOffset > 0 ? nil : self[0] }

    /// Takes up to `bytes` from the first entry. Returns how many it took; the entry is finished when it has no more.
    @inline(__always)
    func advanceHead(_ bytes: Int) -> (taken: Int, isFinished: Bool) {
        let rest = self[0].count &- headOffset
        if rest <= bytes { return (rest, true) }
        storage.pointee.headOffset &+= bytes
        return (bytes, false)
    }

    @inline(__always)
    func removeFirst() -> OutboundEntry {
        assert(!isEmpty && flushedCount <= count)
        let entry = self[0]
        storage.pointee.head = (storage.pointee.head &+ 1) & (storage.pointee.capacity &- 1)
        storage.pointee.count &-= 1
        if flushedCount > 0 { storage.pointee.flushedCount &-= 1 }
        storage.pointee.headOffset = 0
        return entry
    }

    /// Lays out what is flushed as vectors, oldest first: neighbours in memory become one. Returns their number, 0 when
    /// there are no bytes to send before the next file, -errno when a file cannot be read. A file region goes alone, when it
    /// is the first entry, a window at a time.
    func gather(_ vectors: UnsafeMutablePointer<iovec>, limit: Int, bytes limitBytes: Int) -> Int {
        var used = 0
        var bytes = 0
        var offset = headOffset
        var index = 0
        defer { storage.pointee.gatheredCount = index }
        while index < flushedCount, bytes < limitBytes {
            let entry = self[index]
            let length = min(entry.count &- offset, Self.vectorLimit)
            if entry.isFile, length > 0 {
                if index == 0, let file = entry.file {
                    // Safe to fill anew: only one send is in flight, and that one has completed.
                    let window =
                        storage.pointee.fileWindow ?? .allocate(byteCount: FileRegion.windowSize, alignment: 4096)
                    storage.pointee.fileWindow = window
                    let length = file.read(at: offset, into: window)
                    if length < 0 { return length }
                    vectors[0] = iovec(iov_base: window, iov_len: length)
                    used = 1
                    index &+= 1
                }
                break
            }
            let start = UnsafeMutableRawPointer(mutating: entry.start) + offset
            offset = 0
            index &+= 1
            if length == 0 { continue }
            if used > 0, vectors[used &- 1].iov_base + vectors[used &- 1].iov_len == start {
                vectors[used &- 1].iov_len &+= length
            } else if used < limit {
                vectors[used] = iovec(iov_base: start, iov_len: length)
                used &+= 1
            } else {
                break
            }
            bytes &+= length
            if length == Self.vectorLimit { break }
        }
        return used
    }

    /// A piece of a file, in memory that the next piece will overwrite: it must be sent with a copy.
    func isWindow(_ vector: iovec) -> Bool { vector.iov_base == storage.pointee.fileWindow }

    /// What one vector may hold: the kernel counts a send's bytes in 31 bits.
    private static let vectorLimit = 1 << 30

    /// The queue is empty: gives back the block it was filling.
    @inline(__always)
    func releaseBlock(_ memory: inout OutboundMemory) {
        assert(isEmpty)
        if let block = storage.pointee.block { memory.release(block) }
        storage.pointee.block = nil
        storage.pointee.head = 0
    }
}
