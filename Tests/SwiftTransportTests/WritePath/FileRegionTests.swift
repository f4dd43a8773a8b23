import Foundation
import Testing

@testable import SwiftTransport

extension WritePath {
    /// W16: parts of files in the queue.
    @Suite struct FileRegions {
        private static let small: [ChannelOption] = [
            .sendBuffer(4096), .waterMark(low: 1000, high: 2000, hardLimit: .mebibytes(64)),
        ]

        /// A whole file over several windows, an offset, an empty region, mixed with buffers: the order is that of the writes.
        @Test(arguments: WritePath.engines)
        func filesAndBuffersKeepTheirOrder(engine: Engine) async throws {
            let file = try ScratchFile(3 * FileRegion.windowSize + 12_345)
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                let whole = try FileRegion(path: file.path)
                #expect(whole.count == file.bytes.count && whole.offset == 0)
                let part = try FileRegion(descriptor: file.descriptor(), offset: 70_000, count: 66_000)
                let empty = try FileRegion(descriptor: file.descriptor(), offset: 5, count: 0)
                try await rig.run { channel in
                    channel.write(Buffer("head"), promise: log.promise(0))
                    channel.write(whole, promise: log.promise(1))
                    channel.write(Buffer("middle"), promise: log.promise(2))
                    channel.recorderContext.write(part, promise: log.promise(3))
                    channel.write(empty, promise: log.promise(4))
                    channel.write(Buffer("tail"), promise: log.promise(5))
                    channel.flush()
                }
                let expected =
                    Array("head".utf8) + file.bytes + Array("middle".utf8) + file.bytes[70_000..<136_000]
                    + Array("tail".utf8)
                #expect(await rig.peer.read(expected.count) == expected)
                await log.untilDone(6)
                #expect(log.done == (0..<6).map { .done($0, nil) })
            }
        }

        /// From another thread, through a straw, with progress, and the region is let go in the end.
        @Test(arguments: WritePath.engines)
        func aFileReachesASlowReader(engine: Engine) async throws {
            let file = try ScratchFile(200_000)
            try await WritePath.withRig(engine, Self.small, receiveBuffer: 32768) { rig in
                let witness = try {
                    let region = try FileRegion(path: file.path)
                    rig.channel.write(region, promise: rig.log.progressPromise(0))
                    return Witness(region)
                }()
                rig.channel.flush()
                #expect(await rig.peer.read(200_000, piece: 3333) == file.bytes)
                await rig.log.untilDone(1)
                let steps = rig.log.events.compactMap {
                    if case .progress(_, let written, 200_000) = $0 { written } else { nil }
                }
                #expect(steps.count >= 3 && zip(steps, steps.dropFirst()).allSatisfy { $0 < $1 })
                try await rig.turns(1)
                #expect(witness.isFreed)
            }
        }

        /// W10: a file counts as what of it is in memory, one window, however large it is.
        @Test(arguments: WritePath.engines)
        func aFileCountsAsItsWindow(engine: Engine) async throws {
            let file = try ScratchFile(300_000)
            try await WritePath.withRig(engine) { rig in
                let region = try FileRegion(path: file.path)
                try await rig.run { channel in
                    channel.write(region)
                    #expect(channel.pendingBytes == WritePath.pending(FileRegion.windowSize))
                    channel.flush()
                }
                #expect(await rig.peer.read(300_000) == file.bytes)
                try await rig.until { $0.pendingBytes == 0 }
            }
        }

        /// A file that cannot be read fails its own write, nothing else; the channel is writable again although nothing was sent.
        @Test(arguments: WritePath.engines)
        func anUnreadableFileFailsAlone(engine: Engine) async throws {
            let file = try ScratchFile(100_000)
            try await WritePath.withRig(engine, [.waterMark(low: 500, high: 1000)]) { rig in
                let log = rig.log
                let unreadable = try file.unreadableRegion()
                rig.channel.write(unreadable, promise: log.promise(0))
                rig.channel.flush()
                await log.until(.done(0, .system))
                await log.until(.writable(true))
                #expect(log.writable == [false, true] && rig.channel.isWritable)
                #expect(await rig.channel.result(of: Buffer("goes on")) == nil)
                #expect(await rig.peer.read(7) == Array("goes on".utf8))
            }
        }

        /// What was flushed behind a file that cannot be read is sent all the same.
        @Test(arguments: WritePath.engines)
        func whatIsBehindAnUnreadableFileIsSent(engine: Engine) async throws {
            let file = try ScratchFile(100)
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                let unreadable = try file.unreadableRegion()
                try await rig.run { channel in
                    channel.write(unreadable, promise: log.promise(0))
                    channel.write(Buffer("goes on"), promise: log.promise(1))
                    channel.flush()
                }
                #expect(await rig.peer.read(7) == Array("goes on".utf8))
                await log.untilDone(2)
                #expect(log.done == [.done(0, .system), .done(1, nil)])
            }
        }

        /// A write of no bytes before it has its own end, whether it is sent at the end of the turn or at once.
        @Test(arguments: WritePath.engines, [1000, 100])
        func anEmptyWriteBeforeAnUnreadableFileEnds(engine: Engine, high: Int) async throws {
            let file = try ScratchFile(100)
            try await WritePath.withRig(engine, [.waterMark(low: 1, high: .bytes(high))]) { rig in
                let log = rig.log
                let unreadable = try file.unreadableRegion()
                try await rig.run { channel in
                    channel.write(Buffer(), promise: log.promise(0))
                    channel.write(unreadable, promise: log.promise(1))
                    channel.flush()
                }
                await log.untilDone(2)
                #expect(log.done == [.done(0, nil), .done(1, .system)])
            }
        }

        /// The last write of a channel that ends is a file that cannot be read: the end of stream follows all the same.
        @Test(arguments: WritePath.engines, [true, false])
        func theEndOfStreamFollowsAnUnreadableFile(engine: Engine, closing: Bool) async throws {
            let file = try ScratchFile(100)
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                let unreadable = try file.unreadableRegion()
                try await rig.run { channel in
                    channel.write(unreadable, promise: log.promise(0))
                    if closing { channel.close(.drain(within: .seconds(600))) } else { channel.shutdownOutput() }
                }
                await rig.peer.readToEnd()
                #expect(rig.peer.atEnd && rig.peer.failure == 0)
                #expect(log.done == [.done(0, .system)])
                rig.peer.close()
                await rig.channel.closed()
            }
        }

        /// W21: a file goes alone, so what is before it goes first: of that send the file has no progress to report.
        @Test(arguments: WritePath.engines)
        func aFileReportsNoProgressOfOthers(engine: Engine) async throws {
            let file = try ScratchFile(3 * FileRegion.windowSize)
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                let region = try FileRegion(path: file.path)
                try await rig.run { channel in
                    channel.write(Buffer("head"), promise: log.promise(0))
                    channel.write(region, promise: log.progressPromise(1))
                    channel.flush()
                }
                #expect(await rig.peer.read(4 + region.count).count == 4 + region.count)
                await log.untilDone(2)
                let steps = log.events.compactMap { if case .progress(1, let written, _) = $0 { written } else { nil } }
                #expect(steps.count >= 2 && steps.allSatisfy { $0 > 0 })
            }
        }

        /// The descriptor is closed with the region, or stays the caller's: as asked for.
        @Test(arguments: [true, false])
        func aRegionClosesItsDescriptorIfAsked(closing: Bool) throws {
            let file = try ScratchFile(100)
            let descriptor = file.descriptor()
            let inode = try #require(Self.inode(descriptor))
            do { _ = try FileRegion(descriptor: descriptor, offset: 0, count: 100, closing: closing) }
            // A number that is free may be somebody else's at once: the file tells.
            #expect((Self.inode(descriptor) == inode) == !closing)
            if !closing { close(descriptor) }
        }

        private static func inode(_ descriptor: Int32) -> UInt? {
            var status = stat()
            return fstat(descriptor, &status) == 0 ? UInt(status.st_ino) : nil
        }

        /// Positions that no file has: before its beginning there is nothing, and beyond its end there is nothing to send.
        @Test func positionsThatNoFileHasAreEmpty() throws {
            let file = try ScratchFile(10)
            let descriptor = file.descriptor()
            defer { close(descriptor) }
            let before = try FileRegion(descriptor: descriptor, offset: -5, count: 3, closing: false)
            #expect(before.offset == 0 && before.count == 3)
            let empty = try FileRegion(descriptor: descriptor, offset: .max, count: -4, closing: false)
            #expect(empty.count == 0)
            let beyond = TransportError(.unsuitableFile, call: .fstat, errno: ENODATA, subject: file.path)
            for (offset, count) in [(8, 3), (0, 11), (11, 1), (5, .max), (.max, 10), (.max, .max)] {
                #expect(throws: beyond) {
                    try FileRegion(descriptor: descriptor, offset: offset, count: count, closing: false)
                }
            }
            expectHelpful(beyond)
        }

        /// A file that became shorter on the way leaves a hole in the stream: the channel ends, and says why.
        @Test(arguments: WritePath.engines)
        func aFileThatBecameShorterEndsTheChannel(engine: Engine) async throws {
            let file = try ScratchFile(100_000)
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                let region = try FileRegion(path: file.path)
                file.truncate(to: 99_999)
                try await rig.run { channel in
                    channel.write(region, promise: log.promise(0))
                    channel.write(Buffer("behind"), promise: log.promise(1))
                    channel.flush()
                }
                #expect(await rig.peer.readToEnd() == file.bytes.dropLast())
                await rig.channel.closed()
                #expect(log.done == [.done(0, .closed), .done(1, .closed)])
                let later = await rig.channel.result(of: Buffer("later"))
                #expect(later == TransportError(.closed, call: .pread, errno: EIO, subject: file.path))
            }
        }

        /// Positions beyond 4 GiB are not cut to 32 bits.
        @Test(arguments: WritePath.engines)
        func positionsBeyondFourGibibytesWork(engine: Engine) async throws {
            let file = try ScratchFile(10)
            let marker = WritePath.bytes(70_000, seed: 9)
            let offset = 5 << 30
            file.put(marker, at: offset)
            try await WritePath.withRig(engine) { rig in
                rig.channel.write(try FileRegion(descriptor: file.descriptor(), offset: offset, count: marker.count))
                rig.channel.flush()
                #expect(await rig.peer.read(marker.count) == marker)
            }
        }

        /// What is not there is an error at once, about the file.
        @Test func aMissingFileIsToldAtOnce() async throws {
            let path = "/tmp/no such file \(getpid())"
            let error = await expectError(.invalidAddress, .open, ENOENT, about: path) { try FileRegion(path: path) }
            #expect(error?.description.contains("there is no such file") == true)
            await expectError(.invalidAddress, .open, ENOTDIR, about: "/dev/null/x") {
                try FileRegion(path: "/dev/null/x")
            }
            // C would see the file alone.
            let file = try ScratchFile(10)
            await expectError(.invalidAddress, .open, 0, about: file.path + #"\0.txt"#) {
                try FileRegion(path: file.path + "\0.txt")
            }
        }

        /// What is no regular file is refused when the region is made, and nobody waits: opening a pipe would, for a writer.
        @Test func whatIsNoRegularFileIsRefused() async throws {
            let pipe = "/tmp/write-path-pipe-\(getpid())"
            try #require(mkfifo(pipe, 0o600) == 0)
            defer { unlink(pipe) }
            let socket = "/tmp/write-path-socket-\(getpid())"
            let listener = try RawSocket.listen(on: SocketAddress(unixDomainSocketPath: socket))
            defer { unlink(socket) }
            await expectError(.unsuitableFile, .fstat, ESPIPE, about: pipe) { try FileRegion(path: pipe) }
            await expectError(.unsuitableFile, .fstat, EISDIR, about: "/tmp") { try FileRegion(path: "/tmp") }
            await expectError(.unsuitableFile, .fstat, ESPIPE, about: "/dev/zero") { try FileRegion(path: "/dev/zero") }
            await expectError(.unsuitableFile, .open, ENXIO, about: socket) { try FileRegion(path: socket) }
            #expect(try !Self.isOpen(pipe))

            for (path, errno) in [(pipe, ESPIPE), ("/tmp", EISDIR), ("/dev/zero", ESPIPE)] {
                let descriptor = Glibc.open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
                try #require(descriptor >= 0)
                await expectError(.unsuitableFile, .fstat, errno, about: path) {
                    try FileRegion(descriptor: descriptor, offset: 0, count: 0)
                }
                // Still the caller's.
                #expect(close(descriptor) == 0)
            }
            let name = "socket:"
            let error = await expectError(.unsuitableFile, .fstat, ESPIPE) {
                try FileRegion(descriptor: listener.descriptor, offset: 0, count: 1, closing: false)
            }
            #expect(error?.subject?.hasPrefix(name) == true)
        }

        /// What cannot be read would leave a hole in the stream later.
        @Test func whatIsNotOpenForReadingIsRefused() async throws {
            let file = try ScratchFile(100)
            // O_PATH: a name, and nothing that could be read.
            for flags in [O_WRONLY, 0o10000000] {
                let descriptor = file.descriptor(flags)
                await expectError(.unsuitableFile, .fstat, EBADF, about: file.path) {
                    try FileRegion(descriptor: descriptor, offset: 0, count: 100)
                }
                #expect(close(descriptor) == 0)
            }
            await expectError(.unsuitableFile, .fstat, EBADF, about: "descriptor -1") {
                try FileRegion(descriptor: -1, offset: 0, count: 0)
            }
        }

        private static func isOpen(_ path: String) throws -> Bool {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").contains {
                (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")) == path
            }
        }
    }
}
