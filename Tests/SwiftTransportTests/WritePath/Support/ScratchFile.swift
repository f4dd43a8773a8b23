import Glibc
import Testing

@testable import SwiftTransport

extension WritePath {
    /// A file of its own, gone with the object.
    final class ScratchFile {
        let path: String
        let bytes: [UInt8]

        init(_ count: Int, seed: Int = 0) throws {
            bytes = WritePath.bytes(count, seed: seed)
            path = "/tmp/write-path-\(getpid())-\(UInt64.random(in: 0 ... .max))"
            let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            try #require(descriptor >= 0)
            #expect(Glibc.write(descriptor, bytes, count) == count)
            Glibc.close(descriptor)
        }
        deinit { unlink(path) }

        func descriptor(_ flags: Int32 = O_RDONLY) -> Int32 { Glibc.open(path, flags | O_CLOEXEC) }

        /// Puts `bytes` at `offset`, far beyond the end, without using the space between.
        func put(_ bytes: [UInt8], at offset: Int) {
            let descriptor = descriptor(O_WRONLY)
            #expect(pwrite(descriptor, bytes, bytes.count, offset) == bytes.count)
            Glibc.close(descriptor)
        }

        /// The whole file as a region, which cannot be read any more: the file is empty when it returns.
        func unreadableRegion() throws -> FileRegion {
            let region = try FileRegion(path: path)
            truncate(to: 0)
            return region
        }

        func truncate(to size: Int) { #expect(Glibc.truncate(path, size) == 0) }
    }
}
