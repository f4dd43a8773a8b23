import Glibc
import SwiftTransport

/// The stream that everybody sends who sends more than a byte: it shows when something is lost, doubled or moved. The byte at
/// a position is that of a table whose length divides no size of anything.
enum Pattern {
    static let period = 65_521
    /// Twice, so that a piece of up to one period begins anywhere.
    static let table: [UInt8] = {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        let once = (0..<period).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 56)
        }
        return once + once
    }()

    /// `count` bytes of the stream from `position` on, at most a period of them, in memory of their own.
    static func piece(at position: Int, count: Int) -> Buffer {
        let start = position % period
        return table.withUnsafeBytes { Buffer(copying: UnsafeRawBufferPointer(rebasing: $0[start..<start + count])) }
    }

    /// How many of `bytes` are not those of the stream from `position` on.
    static func mismatches(_ bytes: UnsafeRawBufferPointer, at position: Int) -> Int {
        var wrong = 0
        var start = 0
        while start < bytes.count {
            let part = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + period, bytes.count)])
            table.withUnsafeBytes { table in
                let expected = table.baseAddress! + (position + start) % period
                if memcmp(part.baseAddress!, expected, part.count) == 0 { return }
                for (index, byte) in part.enumerated()
                where byte != expected.load(fromByteOffset: index, as: UInt8.self) {
                    wrong += 1
                }
            }
            start += period
        }
        return wrong
    }
}
