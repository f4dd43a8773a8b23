import Testing

@testable import SwiftTransport

extension WritePath {
    /// Two buffers: the kernel's and ours.
    @Suite struct KernelBuffer {
        /// W26: success means that the kernel has the bytes: here nobody ever reads them.
        @Test(arguments: WritePath.engines)
        func successIsNotTheirWord(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                try await rig.channel.send(Buffer("nobody reads this"))
                #expect(rig.channel.pendingBytes == 0)
            }
        }

        /// W1, W27: when the kernel's buffer is full, writes pile up here. Netty says nothing; here it is seen in
        /// `pendingBytes`, `isWritable` and the hard limit, and the writes are neither done nor failed.
        @Test(arguments: WritePath.engines)
        func aFullKernelIsSeen(engine: Engine) async throws {
            let mark = WaterMark(low: .kibibytes(32), high: .kibibytes(64), hardLimit: .mebibytes(1))
            try await WritePath.withRig(engine, [.sendBuffer(4096), .waterMark(mark)], receiveBuffer: 32768) { rig in
                let log = rig.log
                try await rig.fillKernel(with: Buffer(WritePath.bytes(200_000)))
                try await rig.run { channel in
                    for tag in 0..<5 { channel.write(Buffer(WritePath.bytes(1000)), promise: log.promise(tag)) }
                    channel.flush()
                }
                try await rig.turns()
                #expect(log.done.isEmpty)
                #expect(!rig.channel.isWritable)
                #expect(rig.channel.pendingBytes > WritePath.pending(5000, writes: 5))
                let code = try await rig.run { channel -> TransportError.Code? in
                    var code: TransportError.Code?
                    channel.write(
                        Buffer(WritePath.bytes(1 << 20)), promise: .callback { [log] in log.add(.done(9, $0?.code)) })
                    if case .done(9, let result) = log.events.last { code = result }
                    return code
                }
                #expect(code == .outboundQueueFull)
            }
        }
    }
}
