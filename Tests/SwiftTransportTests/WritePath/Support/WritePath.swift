import Testing

@testable import SwiftTransport

/// The write path, row by row: `Documentation/MissionCoverage.md` says which test pins which.
@Suite(.timeLimit(.minutes(2)))
enum WritePath {
    /// Every engine this machine has; `ProbeTests` of the core reports one that is missing.
    static let engines: [Engine] = Engine.uring.isAvailable ? [.uring, .epoll] : [.epoll]

    /// Bytes that show it when one is lost, doubled or out of place.
    static func bytes(_ count: Int, seed: Int = 0) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        var place = seed % period.count
        while bytes.count < count {
            bytes += period[place..<min(period.count, place + count - bytes.count)]
            place = 0
        }
        return bytes
    }

    /// A prime number of bytes, so that no power of two hides a mistake.
    private static let period: [UInt8] = (0..<65_521).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 13) }

    /// What a write of `count` bytes counts as pending.
    static func pending(_ count: Int, writes: Int = 1) -> Int { count + writes * WaterMark.entryOverhead.bytes }
}

extension Channel {
    /// Sends and returns how it ended.
    func result(of buffer: Buffer, flush: Bool = true) async -> WriteResult {
        do throws(TransportError) {
            try await send(buffer, flush: flush)
            return nil
        } catch { return error }
    }
}
