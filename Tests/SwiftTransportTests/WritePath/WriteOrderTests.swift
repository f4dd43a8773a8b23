import SwiftTransport
import Testing

extension Scenarios {
    /// W2, W3, W8, W22: writes leave in their order, whoever writes, and completions come in the same order, each once.
    struct WriteOrderTests {
        @Test(arguments: Place.all) func completionsComeInTheOrderOfTheWrites(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let writes = 500
                let log = Watched(Recording())
                let mark = WaterMark(hardLimit: .mebibytes(64))
                let (_, peer) = try await group.connection(place, .waterMark(mark)) {
                    [
                        RecordingHandler(log) {
                            $0.onActive = { context in
                                var random = SeededGenerator(seed: 11)
                                var offset = 0
                                for tag in 0..<writes {
                                    let count = random.logUniform(1, 50_000)
                                    context.write(
                                        Buffer(Pattern(seed: 5).bytes(at: offset, count: count)), tag: UInt64(tag))
                                    offset += count
                                    if tag % 7 == 0 { context.flush() }
                                }
                                context.flush()
                                context.close(.drain(within: .seconds(600)))
                            }
                        }
                    ]
                }
                let received = try await blocking { peer.readToEnd() }
                #expect(received.error == 0)
                #expect(received.bytes.withUnsafeBytes { Pattern(seed: 5).matches($0, at: 0) })
                peer.close()
                let recording = try await log.wait(for: "the end") { $0.events.last == .removed }
                let completed = recording.events.filter { if case .completed = $0 { true } else { false } }
                #expect(completed == (0..<writes).map { .completed(UInt64($0), nil) })
                var sizes = SeededGenerator(seed: 11)
                #expect(received.bytes.count == (0..<writes).reduce(0) { sum, _ in sum + sizes.logUniform(1, 50_000) })
            }
        }

        /// Each thread's writes keep their order; what the threads do to each other is not promised.
        @Test(arguments: Place.all) func fourThreadsWriteAtOnce(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let perThread = 500
                let mark = WaterMark(hardLimit: .mebibytes(64))
                let (channel, peer) = try await group.connection(place, .waterMark(mark))
                let completions = Watched<[UInt32: [UInt32]]>([:])
                for thread in UInt32(0)..<4 {
                    startThread {
                        for number in 0..<UInt32(perThread) {
                            let record = withUnsafeBytes(of: (thread, number)) { [UInt8]($0) }
                            channel.writeAndFlush(
                                Buffer(record),
                                promise: .callback { error in
                                    if error == nil { completions.update { $0[thread, default: []].append(number) } }
                                })
                        }
                    }
                }
                let bytes = try await blocking { try peer.read(4 * perThread * 8) }
                var received: [UInt32: [UInt32]] = [:]
                for start in stride(from: 0, to: bytes.count - 7, by: 8) {
                    let (thread, number) = bytes.withUnsafeBytes {
                        $0.loadUnaligned(fromByteOffset: start, as: (UInt32, UInt32).self)
                    }
                    received[thread, default: []].append(number)
                }
                let inOrder = Dictionary(
                    uniqueKeysWithValues: (UInt32(0)..<4).map { ($0, Array(0..<UInt32(perThread))) })
                #expect(received == inOrder)
                let told = try await completions.wait(for: "all completions") {
                    $0.count == 4 && $0.values.allSatisfy { $0.count == perThread }
                }
                #expect(told == inOrder)
            }
        }

        /// A writer that watches isWritable cannot run ahead of a loop that is busy: what is on its way counts already.
        @Test(arguments: Engine.allCases) func writesOnTheirWayAreCountedAtOnce(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .tcp))
                let overhead = WaterMark.entryOverhead.bytes
                try await withLoopHeld(channel.eventLoop) {
                    for _ in 0..<10 { channel.write(Buffer([UInt8](repeating: 1, count: 1000))) }
                    #expect(channel.pendingBytes == 10 * (1000 + overhead))
                    #expect(channel.isWritable)
                    channel.write(Buffer([UInt8](repeating: 2, count: 64 * 1024)))
                    #expect(channel.pendingBytes == 10 * (1000 + overhead) + 64 * 1024 + overhead)
                    #expect(!channel.isWritable)
                }
                // Still counted, once, after they have arrived; and no more when the kernel has them.
                await group.settle()
                #expect(channel.pendingBytes == 10 * (1000 + overhead) + 64 * 1024 + overhead)
                channel.flush()
                let received = try await blocking { try peer.read(10 * 1000 + 64 * 1024) }
                #expect(received == [UInt8](repeating: 1, count: 10_000) + [UInt8](repeating: 2, count: 64 * 1024))
                try await eventually("nothing to be pending") { channel.pendingBytes == 0 }
                #expect(channel.isWritable)
            }
        }
    }
}
