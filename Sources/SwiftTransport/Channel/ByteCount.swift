/// A number of bytes, so that no option's unit is ever in doubt: `.kibibytes(64)`.
public struct ByteCount: Sendable, Hashable, Comparable, ExpressibleByIntegerLiteral, CustomStringConvertible {
    /// The number of bytes.
    public let bytes: Int

    /// Exactly `bytes` bytes; negative counts become 0.
    public init(_ bytes: Int) { self.bytes = max(0, bytes) }
    /// The literal is a number of bytes.
    public init(integerLiteral value: Int) { self.init(value) }

    /// Exactly `count` bytes.
    public static func bytes(_ count: Int) -> ByteCount { ByteCount(count) }
    /// `count` times 1,024 bytes.
    public static func kibibytes(_ count: Int) -> ByteCount { ByteCount(scaled(count, 1 << 10)) }
    /// `count` times 1,048,576 bytes.
    public static func mebibytes(_ count: Int) -> ByteCount { ByteCount(scaled(count, 1 << 20)) }

    private static func scaled(_ count: Int, _ unit: Int) -> Int {
        let (product, overflow) = count.multipliedReportingOverflow(by: unit)
        return overflow ? (count < 0 ? 0 : Int.max) : product
    }

    /// In the largest unit that divides it: `64 KiB`, `1000 bytes`.
    public var description: String {
        switch bytes {
        case 0: "0 bytes"
        case _ where bytes % (1 << 20) == 0: "\(bytes >> 20) MiB"
        case _ where bytes % (1 << 10) == 0: "\(bytes >> 10) KiB"
        default: bytes == 1 ? "1 byte" : "\(bytes) bytes"
        }
    }

    /// Fewer bytes come first.
    public static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }
}
