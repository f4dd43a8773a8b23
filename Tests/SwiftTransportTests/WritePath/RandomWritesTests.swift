import Testing

@testable import SwiftTransport

extension WritePath {
    /// Whatever is written, in whatever order it is flushed, cancelled and cut off: the peer gets the bytes of the writes in
    /// their order, and each write is told once, and the truth. A run is repeated by its seed.
    @Suite struct RandomWrites {
        enum Ending: CaseIterable, Sendable { case drain, immediate, reset, peerReset }

        @Test(arguments: WritePath.engines, Array(UInt64(0)..<24))
        func oneStream(engine: Engine, seed: UInt64) async throws {
            var random = SeededGenerator(seed: seed)
            let ending = Ending.allCases[Int(seed) % Ending.allCases.count]
            let file = try ScratchFile(300_000, seed: 7)
            var options: [ChannelOption] = [
                .waterMark(low: 2000, high: 20_000, hardLimit: .mebibytes(256)),
                .sendBuffer(.bytes(random.logUniform(4096, 200_000))),
            ]
            if Bool.random(using: &random) { options.append(.zeroCopy(from: .kibibytes(32))) }
            // Not smaller: a window below a segment leaves the kernel to its persist timer, five times a second.
            try await WritePath.withRig(engine, options, receiveBuffer: 65536) { rig in
                let region = Unchecked(file)
                let writer = try await rig.run { Writer($0, region.value, seed: seed) }
                for _ in 0..<80 {
                    try await rig.run { _ in writer.step() }
                    if Int.random(in: 0..<3, using: &random) > 0 {
                        rig.peer.readSome(random.logUniform(1, 60_000))
                    }
                }
                try await rig.run { _ in writer.stop() }
                switch ending {
                case .drain: rig.channel.close(.drain(within: .seconds(100)))
                case .immediate: rig.channel.close(.immediate)
                case .reset: rig.channel.close(.reset)
                case .peerReset: rig.peer.reset()
                }
                if ending != .peerReset { await rig.peer.readToEnd() }
                rig.peer.close()
                await rig.channel.closed()
                writer.check(rig.peer.received, ending)
                if ending != .peerReset, rig.peer.failure == 0 {
                    #expect(rig.peer.received.count == writer.acceptedBytes, "an end of stream means all of it")
                }
            }
        }

        /// Writes at random and keeps the books. The loop's thread only, until the channel is closed.
        private final class Writer: @unchecked Sendable {
            private struct Write {
                var bytes: [UInt8]
                var isTold = true
                var ends: [TransportError.Code?] = []
                var wasCancelled: Bool { ends.first == .cancelled }
            }

            private let channel: Channel
            private let file: ScratchFile
            private var random: SeededGenerator
            private var writes: [Write] = []
            private var handles: [(index: Int, handle: WriteHandle)] = []
            private var isStopped = false

            init(_ channel: Channel, _ file: ScratchFile, seed: UInt64) {
                self.channel = channel
                self.file = file
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
                case 12..<16: channel.flush()
                case 16, 17: cancel()
                case 18:
                    let low = random.logUniform(1, 50_000)
                    channel.setWaterMark(
                        WaterMark(low: .bytes(low), high: .bytes(2 * low), hardLimit: .mebibytes(256)))
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
                    writes[index].isTold = false
                    context.write(buffer.span)
                case 3: channel.write(buffer) { self.ended(index, $0) }
                default:
                    // A completion that goes on writing.
                    channel.writeAndFlush(buffer) { result in
                        self.ended(index, result)
                        if result == nil, !self.isStopped { self.operate() }
                    }
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
            var acceptedBytes: Int { writes.filter { !$0.wasCancelled }.reduce(0) { $0 + $1.bytes.count } }

            // MARK: The truth

            func check(_ received: [UInt8], _ ending: Ending) {
                #expect(writes.allSatisfy { !$0.isTold || $0.ends.count == 1 }, "told once")
                let sent = writes.filter { !$0.wasCancelled }
                let stream = sent.flatMap(\.bytes)
                #expect(stream.starts(with: received), "the bytes of the writes, in their order")
                let told = sent.filter(\.isTold)
                let succeeded = told.prefix { $0.ends == [nil] }
                #expect(told.dropFirst(succeeded.count).allSatisfy { $0.ends == [.closed] }, "failed from there on")
                #expect(told.count > 20)
                switch ending {
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
