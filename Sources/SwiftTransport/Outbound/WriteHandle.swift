internal import Synchronization

/// Names a write that may still be cancelled. Eight bytes; a handle of a write that is over, or of another channel, does
/// nothing.
///
/// The upper 24 bits are the channel's mark, the lower 40 number its writes. Both start anew when they are used up, after
/// 16 million channels and a million million writes.
public struct WriteHandle: Sendable, Hashable {
    private let bits: UInt64

    private static let numberMask: UInt64 = 1 << 40 - 1
    private static let marks: UInt64 = 1 << 24 - 1
    private static let channels = Atomic<UInt64>(0)

    /// The handle of a write that never was queued, or that another handler took over.
    static let stale = WriteHandle(bits: .max)

    /// The handle of the first write of a new channel.
    static func first() -> WriteHandle {
        // The mark of the stale handle is nobody's.
        let mark = channels.wrappingAdd(1, ordering: .relaxed).oldValue % marks
        return WriteHandle(bits: mark << 40)
    }

    /// The handle of the write `count` places further on.
    @inline(__always)
    func advanced(by count: Int) -> WriteHandle {
        let number = (bits &+ UInt64(truncatingIfNeeded: count)) & Self.numberMask
        return WriteHandle(bits: bits & ~Self.numberMask | number)
    }

    /// How many places `other` is further on; `nil` when it is of another channel.
    func distance(to other: WriteHandle) -> Int? {
        guard (bits ^ other.bits) & ~Self.numberMask == 0 else { return nil }
        return Int((other.bits &- bits) & Self.numberMask)
    }
}
