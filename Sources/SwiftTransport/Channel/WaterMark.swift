/// When a channel's outbound queue is too full to go on writing, when it is empty enough again, and where it ends.
///
/// What counts is the memory a queued write holds: its bytes that the kernel has not taken yet, plus
/// ``entryOverhead`` for the entry itself, so that a million one-byte writes cannot hide. Compare Netty, which counts
/// 96 bytes an entry and takes bytes off only when a whole message is gone.
public struct WaterMark: Sendable, Hashable {
    /// Below this many pending bytes the channel becomes writable again. Default 32 KiB, as in Netty.
    public let low: ByteCount
    /// Above this many pending bytes the channel becomes unwritable. Default 64 KiB, as in Netty.
    public let high: ByteCount
    /// A write that would take the queue above this many bytes fails with `.outboundQueueFull`. Default 16 x `high`.
    /// If nobody waits for that write, the channel fails with it: a stream must not have a hole that nobody knows of.
    /// A single write is always accepted by an empty queue, however large it is.
    public let hardLimit: ByteCount

    /// What to do with a write beyond a limit.
    public enum Overflow: Sendable, Hashable {
        /// Fail that write.
        case failWrite
        /// Fail it and close the channel: its peer reads too slowly to be served.
        case closeChannel
    }

    /// What an entry counts besides its bytes: the size of its record in the queue.
    public static let entryOverhead: ByteCount = 48
    /// The hard limit in multiples of the high mark when none is given.
    public static let defaultHardLimitFactor = 16

    /// Marks in ascending order; what is out of order is raised to the one below it.
    public init(low: ByteCount = .kibibytes(32), high: ByteCount = .kibibytes(64), hardLimit: ByteCount? = nil) {
        // Below 1 the queue could never be below it, and the channel never writable again: both comparisons are strict.
        self.low = max(1, low)
        self.high = max(self.low, high)
        let (product, overflow) = self.high.bytes.multipliedReportingOverflow(by: Self.defaultHardLimitFactor)
        self.hardLimit = max(self.high, hardLimit ?? ByteCount(overflow ? Int.max : product))
    }
}
