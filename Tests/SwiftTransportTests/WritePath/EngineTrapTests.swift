import Glibc
import Testing

@testable import SwiftTransport

extension WritePath {
    /// Traps of io_uring transports, as Netty met them, that show above the core.
    @Suite struct EngineTraps {
        /// netty#17049, #17087: reading switched off and on again before the kernel has answered loses nothing, and the channel is not
        /// stuck afterwards.
        @Test(arguments: WritePath.engines)
        func readingOffAndOnLosesNothing(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                var expected: [UInt8] = []
                for round in 0..<50 {
                    let piece = WritePath.bytes(1000, seed: round)
                    expected += piece
                    try await rig.run { channel in
                        channel.setAutomaticReading(false)
                        if round % 3 == 0 { channel.setAutomaticReading(true) }
                    }
                    rig.peer.write(piece)
                    rig.channel.setAutomaticReading(true)
                    let wanted = expected
                    try await rig.until { $0.recorder.received.count == wanted.count }
                    // The answer of a keep-alive connection goes out.
                    try await rig.channel.send(Buffer([UInt8(round)]))
                }
                let wanted = expected
                #expect(try await rig.run { $0.recorder.received } == wanted)
                #expect(await rig.peer.read(50).count == 50)
            }
        }

        /// netty#17049: what the kernel hands over between switching on and delivering stays behind what was kept before, and does
        /// not wait there for somebody to switch once more.
        @Test(arguments: WritePath.engines)
        func lateBytesStayBehindWhatIsKept(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                try await rig.run { channel in
                    channel.own.held = HeldInput()
                    channel.own.held?.input.append(ReadBytes(lending: Buffer("kept, ")))
                }
                rig.peer.write(Array("late".utf8))
                try await rig.until { $0.recorder.received.count == 10 }
                #expect(try await rig.run { $0.recorder.received } == Array("kept, late".utf8))
            }
        }

        /// Switched off, nothing more is received: what comes stays in the kernel, and slows the peer down.
        @Test(arguments: WritePath.engines)
        func nothingIsReceivedWhileReadingIsOff(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                rig.channel.setAutomaticReading(false)
                try await rig.turns()
                let before = try #require(await rig.loop.statistics()).receivedBytes
                rig.peer.write(WritePath.bytes(1000))
                try await rig.turns(50)
                #expect(await rig.loop.statistics()?.receivedBytes == before)
                rig.channel.setAutomaticReading(true)
                try await rig.until { $0.recorder.received == WritePath.bytes(1000) }
            }
        }

        /// What was kept for a reader is let go when the channel drains: it has no reader any more.
        @Test(arguments: WritePath.engines)
        func aDrainKeepsNoInput(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                try await rig.run { channel in
                    channel.setAutomaticReading(false)
                    channel.own.held = HeldInput()
                    channel.own.held?.input.append(ReadBytes(lending: Buffer("kept")))
                    channel.close(.drain(within: .seconds(600)))
                    #expect(channel.own.held == nil)
                }
            }
        }

        /// netty#15125: sending files makes no worker threads.
        @Test(arguments: WritePath.engines)
        func filesMakeNoThreads(engine: Engine) async throws {
            let file = try ScratchFile(500_000)
            try await WritePath.withRig(engine, [.sendBuffer(16384)], receiveBuffer: 32768) { rig in
                let thread = try await rig.run { _ in Self.currentThread }
                for _ in 0..<4 { rig.channel.write(try FileRegion(path: file.path)) }
                rig.channel.flush()
                await rig.peer.read(1_000_000)
                #expect(Int(thread) != nil)
                #expect(Self.workers(of: thread) == 0)
                #expect(await rig.peer.read(2_000_000) == file.bytes + file.bytes + file.bytes + file.bytes)
            }
        }

        /// The number of the calling thread, as its directory in /proc is called.
        private static var currentThread: String {
            var path = [UInt8](repeating: 0, count: 128)
            let length = path.withUnsafeMutableBytes {
                $0.withMemoryRebound(to: CChar.self) { readlink("/proc/thread-self", $0.baseAddress!, $0.count) }
            }
            return String(
                decoding: path[..<max(0, length)].split(separator: UInt8(ascii: "/")).last ?? [], as: UTF8.self)
        }

        /// Threads the kernel made for the ring of `thread`.
        private static func workers(of thread: String) -> Int {
            guard let directory = opendir("/proc/self/task") else { return -1 }
            defer { closedir(directory) }
            var count = 0
            while let entry = readdir(directory) {
                let id = withUnsafeBytes(of: entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                guard let file = fopen("/proc/self/task/\(id)/comm", "r") else { continue }
                var name = [UInt8](repeating: 0, count: 64)
                let length = fread(&name, 1, 63, file)
                fclose(file)
                if String(decoding: name[..<length], as: UTF8.self).hasPrefix("iou-wrk-\(thread)") { count += 1 }
            }
            return count
        }

        /// netty#15502, #15739: many connections at once are all accepted and answered, and the completion queue never overflows.
        @Test(arguments: WritePath.engines)
        func manyAtOnceAreAcceptedAndAnswered(engine: Engine) async throws {
            var options = LoopOptions()
            options.engine = .only(engine)
            let group = try EventLoopGroup(loops: 1, options: options)
            final class Greeter: ChannelHandler {
                static let interests: ChannelEvents = [.active]
                func channelActive(_ context: ChannelContext) { context.writeAndFlush(Buffer("hi")) }
            }
            let server = try await ServerBootstrap(group: group).childHandlers { [Greeter()] }.bind(
                host: "127.0.0.1", port: 0)
            let gate = await Gate(group.loops[0])
            let peers = try (0..<300).map { _ in try WritePath.connect(to: server.localAddress) }
            gate.open()
            for peer in peers { #expect(await peer.read(2) == Array("hi".utf8)) }
            let statistics = try #require(await group.loops[0].statistics())
            #expect(statistics.completionOverflows == 0 && statistics.staleCompletions == 0)
            await group.shutdown(within: .zero)
        }
    }
}
