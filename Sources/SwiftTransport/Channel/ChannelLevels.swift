internal import Synchronization

/// What other threads may see of a channel: how much is pending, where its marks are, and whether it may be written to.
///
/// One writer, the loop, so that counting is a load, an add and a store, without a lock prefix.
struct ChannelLevels: ~Copyable {
    private let pendingBytes = Atomic<Int>(0)
    // Bit 0: above the water mark. Bits 1 to 31: the user's flags. Bit 63: not open.
    private let blockers = Atomic<UInt64>(Self.notOpen)
    private let lowMark: Atomic<Int>
    private let highMark: Atomic<Int>
    private let limit: Atomic<Int>

    static let waterMark: UInt64 = 1
    static let notOpen: UInt64 = 1 << 63

    init(_ mark: WaterMark) {
        lowMark = Atomic(mark.low.bytes)
        highMark = Atomic(mark.high.bytes)
        limit = Atomic(mark.hardLimit.bytes)
    }

    @inline(__always)
    var pending: Int { pendingBytes.load(ordering: .relaxed) }

    @inline(__always)
    func add(_ bytes: Int) { pendingBytes.store(pendingBytes.load(ordering: .relaxed) &+ bytes, ordering: .relaxed) }

    @inline(__always)
    var flags: UInt64 { blockers.load(ordering: .relaxed) }

    func setFlags(_ flags: UInt64) { blockers.store(flags, ordering: .relaxed) }

    var isOpen: Bool { flags & Self.notOpen == 0 }
    func open() { setFlags(flags & ~Self.notOpen) }
    func close() { setFlags(flags | Self.notOpen) }

    @inline(__always)
    var low: Int { lowMark.load(ordering: .relaxed) }
    @inline(__always)
    var high: Int { highMark.load(ordering: .relaxed) }
    @inline(__always)
    var hardLimit: Int { limit.load(ordering: .relaxed) }

    var mark: WaterMark { WaterMark(low: ByteCount(low), high: ByteCount(high), hardLimit: ByteCount(hardLimit)) }

    func setMark(_ mark: WaterMark) {
        lowMark.store(mark.low.bytes, ordering: .relaxed)
        highMark.store(mark.high.bytes, ordering: .relaxed)
        limit.store(mark.hardLimit.bytes, ordering: .relaxed)
    }
}
