import Glibc
import Testing

@testable import SwiftTransport

extension WritePath {
    /// Whatever is written, in whatever order it is flushed, cancelled, refused and cut off: the peer gets the bytes of the writes
    /// in their order, an end of stream only behind all of them, and each write is told once, and the truth. A run is
    /// repeated by its seed; `RANDOM_WRITES=first-last` in the environment runs those seeds instead.
    @Suite(.serialized) struct RandomWrites {
        enum Ending: CaseIterable, Sendable { case drain, immediate, reset, peerReset, refusal }

        static let seeds: [UInt64] = {
            let wanted = getenv("RANDOM_WRITES").map {
                String(cString: $0).split(separator: "-").compactMap { UInt64($0) }
            }
            guard let wanted, wanted.count == 2, wanted[0] <= wanted[1] else { return Array(0..<30) }
            return Array(wanted[0]...wanted[1])
        }()

        @Test(arguments: WritePath.engines, seeds)
        func randomWritesAreOneStream(engine: Engine, seed: UInt64) async throws {
            var random = SeededGenerator(seed: seed)
            let ending = Ending.allCases[Int(seed) % Ending.allCases.count]
            let file = try ScratchFile(300_000, seed: 7)
            // Small enough to be met, or out of reach.
            let limit: ByteCount =
                ending == .refusal || Bool.random(using: &random)
                ? .bytes(random.logUniform(100_000, 400_000)) : .mebibytes(256)
            var options: [ChannelOption] = [
                .waterMark(low: 2000, high: 20_000, hardLimit: limit),
                .sendBuffer(.bytes(random.logUniform(4096, 200_000))),
            ]
            if Bool.random(using: &random) { options.append(.zeroCopy(from: .kibibytes(32))) }
            // Not smaller: a window below a segment leaves the kernel to its persist timer, five times a second.
            try await WritePath.withRig(engine, options, receiveBuffer: 65536) { rig in
                let region = Unchecked(file)
                let writer = try await rig.run { Writer($0, region.value, limit, seed: seed) }
                for _ in 0..<80 {
                    try await rig.run { _ in writer.step() }
                    if Int.random(in: 0..<3, using: &random) > 0 {
                        rig.peer.readSome(random.logUniform(1, 60_000))
                    }
                }
                try await rig.run { _ in
                    if ending == .refusal { writer.overrun() }
                    writer.stop()
                }
                switch ending {
                case .drain: rig.channel.close(.drain(within: .seconds(100)))
                case .immediate: rig.channel.close(.immediate)
                case .reset: rig.channel.close(.reset)
                case .peerReset: rig.peer.reset()
                case .refusal: break
                }
                if ending != .peerReset { await rig.peer.readToEnd() }
                rig.peer.close()
                await rig.channel.closed()
                writer.check(rig.peer.received, ending)
                if ending != .peerReset, rig.peer.failure == 0 {
                    #expect(rig.peer.received.count == writer.acceptedBytes, "an end of stream means all of it")
                }
                if let flushed = writer.flushedBeforeTheRefusal, ending == .refusal || ending == .drain {
                    #expect(rig.peer.failure == ECONNRESET)
                    #expect(rig.peer.received.count == flushed, "what was flushed before a refused write")
                }
            }
        }

        /// Writes at random and keeps the books. The loop's thread only, until the channel is closed.
        private final class Writer: @unchecked Sendable {
            private struct Write {
                var bytes: [UInt8]
                var isTold = true
                var ends: [TransportError.Code?] = []
                var isRefused = false
                /// Nothing of it was ever to be sent.
                var isOut: Bool { isRefused || ends.first == .cancelled || ends.first == .outboundQueueFull }
                var wasCancelled: Bool { ends.first == .cancelled }
            }

            private let channel: Channel
            private let file: ScratchFile
            private var random: SeededGenerator
            private var writes: [Write] = []
            private var handles: [(index: Int, handle: WriteHandle)] = []
            private var isStopped = false
            private let limit: ByteCount
            /// How many of the writes, from the first one, are flushed.
            private var flushed = 0
            /// Bytes that had been flushed when a write was refused that nobody waited for.
            private(set) var flushedBeforeTheRefusal: Int?

            init(_ channel: Channel, _ file: ScratchFile, _ limit: ByteCount, seed: UInt64) {
                self.channel = channel
                self.file = file
                self.limit = limit
                random = SeededGenerator(seed: ~seed)
                channel.recorder.onCompletedWith = { [unowned self] tag, result in self.ended(Int(tag), result) }
            }

            func stop() { isStopped = true }

            func step() {
                for _ in 0..<Int.random(in: 1...6, using: &random) { operate() }
            }

            private func operate() {
                guard channel.isActive else { return }
                switch Int.random(in: 0..<20, using: &random) {
                case 0..<11: write()
                case 11: writeFile()
                case 12..<16: flush()
                case 16, 17: cancel()
                case 18:
                    let low = random.logUniform(1, 50_000)
                    channel.setWaterMark(
                        WaterMark(low: .bytes(low), high: .bytes(2 * low), hardLimit: limit))
                default: channel.setWritable(Bool.random(using: &random), flag: 1)
                }
            }

            private func write() {
                let context = channel.recorderContext
                let size = Int.random(in: 0..<8, using: &random) == 0 ? 0 : random.logUniform(1, 100_000)
                let index = begin(WritePath.bytes(size, seed: Int.random(in: 0..<60_000, using: &random)))
                let buffer = Buffer(writes[index].bytes)
                switch Int.random(in: 0..<5, using: &random) {
                case 0: handles.append((index, context.write(buffer, tag: UInt64(index))))
                case 1:
                    let promise = WritePromise.handler(context, tag: UInt64(index), progress: true)
                    handles.append((index, context.write(buffer, promise: promise)))
                case 2:
                    writeUntold(index, buffer, context)
                case 3: channel.write(buffer, promise: .callback { self.ended(index, $0) })
                default:
                    // A completion that goes on writing.
                    defer { flushed = writes.count }
                    let promise = WritePromise.callback { result in
                        self.ended(index, result)
                        if result == nil, !self.isStopped { self.operate() }
                    }
                    channel.writeAndFlush(buffer, promise: promise)
                }
            }

            /// Nobody is told, so a refusal ends the channel, at once.
            private func writeUntold(_ index: Int, _ buffer: Buffer, _ context: ChannelContext) {
                writes[index].isTold = false
                let before = writes[..<flushed].filter { !$0.isOut }.reduce(0) { $0 + $1.bytes.count }
                context.write(buffer.span)
                guard !channel.isActive else { return }
                writes[index].isRefused = true
                flushedBeforeTheRefusal = before
            }

            private func flush() {
                flushed = writes.count
                channel.flush()
            }

            /// Writes until there is no room.
            func overrun() {
                while channel.isActive {
                    let index = begin(WritePath.bytes(50_000, seed: writes.count))
                    writeUntold(index, Buffer(writes[index].bytes), channel.recorderContext)
                }
            }

            private func writeFile() {
                let offset = Int.random(in: 0..<200_000, using: &random)
                let count = random.logUniform(1, 100_000)
                let index = begin(Array(file.bytes[offset..<(offset + count)]))
                guard let region = try? FileRegion(descriptor: file.descriptor(), offset: offset, count: count) else {
                    Issue.record("no region of \(count) bytes at \(offset)")
                    return
                }
                let promise = WritePromise.callback { self.ended(index, $0) }
                handles.append((index, channel.recorderContext.write(region, promise: promise)))
            }

            private func cancel() {
                guard let (index, handle) = handles.suffix(6).randomElement(using: &random) else { return }
                let wasOver = !writes[index].ends.isEmpty
                let cancelled = channel.cancel(handle)
                #expect(cancelled == (!wasOver && writes[index].wasCancelled))
            }

            private func begin(_ bytes: [UInt8]) -> Int {
                writes.append(Write(bytes: bytes))
                return writes.count - 1
            }

            private func ended(_ index: Int, _ result: WriteResult) { writes[index].ends.append(result?.code) }

            /// Everything that was accepted and not taken back.
            var acceptedBytes: Int { writes.filter { !$0.isOut }.reduce(0) { $0 + $1.bytes.count } }

            // MARK: The truth

            func check(_ received: [UInt8], _ ending: Ending) {
                #expect(writes.allSatisfy { !$0.isTold || $0.ends.count == 1 }, "told once")
                let sent = writes.filter { !$0.isOut }
                let stream = sent.flatMap(\.bytes)
                #expect(stream.starts(with: received), "the bytes of the writes, in their order")
                let told = sent.filter(\.isTold)
                let succeeded = told.prefix { $0.ends == [nil] }
                #expect(told.dropFirst(succeeded.count).allSatisfy { $0.ends == [.closed] }, "failed from there on")
                #expect(told.count > 20 || flushedBeforeTheRefusal != nil)
                switch ending {
                case .drain where flushedBeforeTheRefusal != nil, .refusal: break
                case .drain:
                    #expect(received.count == stream.count, "nothing is lost")
                    #expect(succeeded.count == told.count)
                case .immediate, .reset, .peerReset:
                    // Of what failed the last byte is not there.
                    var end = 0
                    for write in sent {
                        end += write.bytes.count
                        guard write.isTold, !write.bytes.isEmpty else { continue }
                        #expect(write.ends == [nil] || received.count < end)
                    }
                }
            }
        }

        private struct Unchecked<Value>: @unchecked Sendable {
            let value: Value
            init(_ value: Value) { self.value = value }
        }
    }
}
