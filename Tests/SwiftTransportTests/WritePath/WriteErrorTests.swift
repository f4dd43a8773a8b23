import Testing

@testable import SwiftTransport

extension WritePath {
    /// W15: a send that fails ends the connection, and everybody hears of it once.
    @Suite struct WriteErrors {
        /// The handlers hear the cause first, then every queued write fails in order, then the channel is inactive, and nothing
        /// follows. Nothing of it is lost in silence, and no event of writability is told.
        @Test(arguments: WritePath.engines)
        func aResetFailsAFullQueueInOrder(engine: Engine) async throws {
            let mark = WaterMark(low: 1000, high: 2000, hardLimit: .mebibytes(64))
            try await WritePath.withRig(engine, [.sendBuffer(4096), .waterMark(mark)], receiveBuffer: 32768) { rig in
                let log = rig.log
                try await rig.run { channel in
                    for tag in 0..<50 {
                        channel.write(Buffer(WritePath.bytes(20_000)), promise: log.promise(tag))
                    }
                    channel.flush()
                }
                try await rig.until { $0.own.writing.inFlight }
                rig.peer.reset()
                await rig.channel.closed()
                let told = log.events.drop { $0 != .error(.connectionLost) }
                #expect(told.first == .error(.connectionLost))
                #expect(log.events.count { $0 == .error(.connectionLost) } == 1)
                #expect(told.suffix(2) == [.inactive, .note("removed")])
                #expect(log.writable == [false])
                let tags = log.done.compactMap { if case .done(let tag, _) = $0 { tag } else { nil } }
                #expect(tags == Array(0..<50))
                let codes = log.done.map { if case .done(_, let code) = $0 { code } else { TransportError.Code?.none } }
                let failed = codes.drop { $0 == nil }
                #expect(!failed.isEmpty && failed.allSatisfy { $0 == .closed })
            }
        }

        /// W15: memory of writes that failed is free, and the descriptor is given back.
        @Test(arguments: WritePath.engines)
        func memoryOfFailedWritesIsFree(engine: Engine) async throws {
            let mark = WaterMark(low: 1000, high: 2000, hardLimit: .mebibytes(64))
            try await WritePath.withRig(engine, [.sendBuffer(4096), .waterMark(mark)], receiveBuffer: 32768) { rig in
                let witnesses = try await rig.run { channel in
                    let buffers = (0..<4).map { Buffer(WritePath.bytes(100_000, seed: $0)) }
                    for buffer in buffers { channel.writeAndFlush(buffer) }
                    return buffers.map { Witness($0) }
                }
                try await rig.until { $0.own.writing.inFlight }
                rig.peer.reset()
                await rig.channel.closed()
                #expect(witnesses.allSatisfy { $0.isFreed })
                #expect(await rig.loop.statistics()?.openEndpoints == 0)
                #expect(await rig.loop.statistics()?.queuedBytes == 0)
            }
        }
    }
}
