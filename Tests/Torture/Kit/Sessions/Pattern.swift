import Glibc
import SwiftTransport

/// The bytes that all streams are made of: one table of random bytes. A piece begins at a phase of its own, so that a byte
/// that is lost, doubled or in another's place shows within the next few.
enum Pattern {
    /// Phases there are; a prime, so that every stride visits all of them.
    static let phases = 1_048_583
    /// The longest piece.
    static let longest = 1 << 20

    nonisolated(unsafe) static let table: UnsafeRawPointer = {
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: phases + longest, alignment: 64)
        var random = Random(0x5EED)
        for index in 0..<phases {
            bytes.storeBytes(of: UInt8(truncatingIfNeeded: random.next() >> 24), toByteOffset: index, as: UInt8.self)
        }
        // Once more behind it, so that no piece has to go round.
        memcpy(bytes + phases, bytes, longest)
        return UnsafeRawPointer(bytes)
    }()

    static func bytes(_ phase: Int, _ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: table + phase, count: count)
    }

    /// The phase `distance` bytes further on.
    static func phase(_ phase: Int, plus distance: Int) -> Int { (phase + distance) % phases }

    /// The table as one buffer: pieces of it share its memory.
    static let shared = Buffer(copying: UnsafeRawBufferPointer(start: table, count: phases + longest))

    /// Where in the table these bytes stand; `nil` when nowhere. For diagnoses.
    static func find(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard bytes.count >= 4, let start = bytes.baseAddress else { return nil }
        return (0..<phases).first { memcmp(table + $0, start, bytes.count) == 0 }
    }

    /// The table as a file without a name.
    static let file: Int32 = {
        let descriptor = temporaryFile()
        var written = 0
        while written < phases + longest {
            let count = write(descriptor, table + written, phases + longest - written)
            precondition(count > 0, "write: \(errno)")
            written += count
        }
        return descriptor
    }()

    /// An empty file without a name.
    static func temporaryFile() -> Int32 {
        for folder in ["/dev/shm", "/tmp", "."] {
            var name = "\(folder)/torture-XXXXXX".utf8CString.map { $0 }
            let descriptor = mkstemp(&name)
            if descriptor >= 0 {
                unlink(name)
                return descriptor
            }
        }
        fatalError("no folder to write a file in")
    }
}
