import Synchronization
import Testing

@testable import SwiftTransport

extension WritePath {
    /// While a loop is busy, what other threads write to it does not fill memory, whatever they write and to how many.
    @Suite struct OnTheWay {
        private static let budget = 64 * 1024

        private static var loop: LoopOptions {
            var options = LoopOptions()
            options.outboundBudget = ByteCount(budget)
            return options
        }

        private static func onTheWay(_ loop: EventLoop) -> Int { loop.onTheWay.load(ordering: .relaxed) }

        /// Each channel within its limit, and all together within the loop's.
        @Test(arguments: WritePath.engines)
        func theLoopsBudgetCountsAllChannels(engine: Engine) async throws {
            let mark = WaterMark(low: 500, high: 1000, hardLimit: .mebibytes(10))
            try await withGroup(engine, options: Self.loop) { group in
                var rigs: [Rig] = []
                for _ in 0..<3 { rigs.append(try await Rig.open(group, [.waterMark(mark)])) }
                let gate = await Gate(group.loops[0])
                // Nobody who has nothing queued is refused.
                for rig in rigs {
                    rig.channel.writeAndFlush(Buffer(WritePath.bytes(20_000)), promise: rig.log.promise(0))
                }
                let refused = Witness(
                    {
                        let buffer = Buffer(WritePath.bytes(20_000))
                        rigs[1].channel.writeAndFlush(buffer, promise: rigs[1].log.promise(1))
                        return buffer
                    }())
                #expect(refused.isFreed)
                #expect(Self.onTheWay(group.loops[0]) <= Self.budget)
                #expect(rigs.map(\.channel.pendingBytes) == Array(repeating: WritePath.pending(20_000), count: 3))
                gate.open()
                for rig in rigs { #expect(await rig.peer.read(20_000) == WritePath.bytes(20_000)) }
                await rigs[1].log.untilDone(2)
                #expect(rigs[1].log.done.contains(.done(1, .loopBudgetExhausted)))
                #expect(rigs[1].channel.isActive)
                #expect(Self.onTheWay(group.loops[0]) == 0)
                for rig in rigs {
                    rig.channel.close(.immediate)
                    await rig.channel.closed()
                }
            }
        }

        /// However many follow, one message says that a write nobody waits for was refused; the channel ends behind what came before.
        @Test(arguments: WritePath.engines, [false, true])
        func whatNobodyWaitsForIsRefusedOnce(engine: Engine, byTheLoop: Bool) async throws {
            let mark = WaterMark(low: 500, high: 1000, hardLimit: byTheLoop ? .mebibytes(10) : 50_000)
            try await withGroup(engine, options: Self.loop) { group in
                let rig = try await Rig.open(group, [.waterMark(mark)])
                let gate = await Gate(rig.loop)
                let first = byTheLoop ? 60_000 : 40_000
                rig.channel.writeAndFlush(Buffer(WritePath.bytes(first)))
                let settled = Self.onTheWay(rig.loop)
                for _ in 0..<5000 { rig.channel.writeAndFlush(Buffer(WritePath.bytes(20_000))) }
                #expect(Self.onTheWay(rig.loop) == settled)
                gate.open()
                let received = await rig.peer.readToEnd()
                #expect(received == WritePath.bytes(first))
                await rig.channel.closed()
                #expect(rig.log.events.contains(.error(byTheLoop ? .loopBudgetExhausted : .outboundQueueFull)))
                let counts = try #require(await rig.loop.statistics())
                #expect(counts.refusedWrites == 1 && counts.slowChannelsClosed == 1)
                #expect(Self.onTheWay(rig.loop) == 0)
            }
        }

        /// Promises are told on the loop as long as there is room on the way to it, else at once; each once.
        @Test(arguments: WritePath.engines)
        func refusalsDoNotPileUp(engine: Engine) async throws {
            let mark = WaterMark(low: 500, high: 1000, hardLimit: 10_000)
            try await WritePath.withRig(engine, [.waterMark(mark)], loop: Self.loop) { rig in
                let gate = await Gate(rig.loop)
                rig.channel.write(Buffer(WritePath.bytes(9000)))
                let (here, there, wrong) = (Watched(0), Watched(0), Watched(0))
                let loop = rig.loop
                for _ in 0..<2000 {
                    rig.channel.write(
                        Buffer(WritePath.bytes(5000)),
                        promise: .callback { result in
                            if result?.code != .outboundQueueFull { wrong.update { $0 += 1 } }
                            (loop.isCurrent ? there : here).update { $0 += 1 }
                        })
                }
                let atOnce = here.value
                #expect(atOnce > 1000 && there.value == 0)
                #expect(Self.onTheWay(loop) <= Self.budget)
                gate.open()
                try await there.wait(for: "the rest") { $0 == 2000 - atOnce }
                #expect(here.value == atOnce && wrong.value == 0)
                #expect(rig.channel.isActive)
                #expect(Self.onTheWay(loop) == 0)
            }
        }

        /// Who answers each refusal with another write gets no deeper and deeper into the stack.
        @Test(arguments: WritePath.engines)
        func aRefusalMayBeAnsweredByAWrite(engine: Engine) async throws {
            final class Again: Sendable {
                let channel: Channel
                let tries = Watched(0)
                let isOver = Atomic<Bool>(false)
                init(_ channel: Channel) { self.channel = channel }
                func write() {
                    tries.update { $0 += 1 }
                    channel.write(
                        Buffer(WritePath.bytes(5000)),
                        promise: .callback { result in
                            if result?.code == .outboundQueueFull, !self.isOver.load(ordering: .acquiring) {
                                self.write()
                            }
                        })
                }
            }
            let mark = WaterMark(low: 500, high: 1000, hardLimit: 10_000)
            try await WritePath.withRig(engine, [.waterMark(mark)], loop: Self.loop) { rig in
                let gate = await Gate(rig.loop)
                rig.channel.write(Buffer(WritePath.bytes(9000)))
                // Takes all the room there is for refusals.
                for _ in 0..<1000 {
                    rig.channel.write(Buffer(WritePath.bytes(5000)), promise: .callback { _ in })
                }
                let again = Again(rig.channel)
                again.write()
                // The last answer is the loop's.
                #expect(again.tries.value == 17)
                again.isOver.store(true, ordering: .releasing)
                gate.open()
                try await rig.turns()
                #expect(Self.onTheWay(rig.loop) == 0)
            }
        }

        /// A broadcast counts once on its way to a loop. Beyond the budget its members there end, behind what came before; those of
        /// other loops miss nothing.
        @Test(arguments: WritePath.engines)
        func broadcasts(engine: Engine) async throws {
            let mark = WaterMark(low: 500, high: 1000, hardLimit: .mebibytes(10))
            try await withGroup(engine, loops: 2, options: Self.loop) { group in
                let room = ChannelGroup()
                var rigs: [Rig] = []
                for loop in group.loops {
                    for _ in 0..<2 {
                        let log = Log()
                        let door = try Door(unix: false, receiveBuffer: nil)
                        let channel = try ClientBootstrap(group: group).options(.waterMark(mark))
                            .handlers { [Recorder(log)] }.makeChannel(on: loop)
                        try await channel.connect(to: door.address)
                        rigs.append(Rig(group: group, channel: channel, peer: try door.accept(), log: log))
                        room.add(channel)
                    }
                }
                let gate = await Gate(group.loops[0])
                var sent = 0
                for index in 0..<10 {
                    let witness = Witness(
                        {
                            let buffer = Buffer(WritePath.bytes(15_000))
                            room.writeAndFlush(buffer)
                            return buffer
                        }())
                    try await eventually("the other loop to be done") {
                        rigs[2...].allSatisfy { $0.channel.pendingBytes == 0 } && Self.onTheWay(group.loops[1]) == 0
                    }
                    // Refused on one loop, taken by the other.
                    if index >= 4 {
                        try await eventually("its memory to be free") { witness.isFreed }
                    } else {
                        sent += 15_000
                    }
                }
                #expect(Self.onTheWay(group.loops[0]) <= Self.budget)
                for index in 0..<10 where index % 3 == 0 {
                    room.writeAndFlush(message: "no handler knows it") { _ in false }
                }
                gate.open()
                let all = (0..<10).flatMap { _ in WritePath.bytes(15_000) }
                for rig in rigs[..<2] {
                    #expect(await rig.peer.readToEnd() == Array(all[..<sent]))
                    await rig.channel.closed()
                    #expect(rig.log.events.contains(.error(.loopBudgetExhausted)))
                    #expect(!room.contains(rig.channel))
                }
                for rig in rigs[2...] {
                    #expect(await rig.peer.read(all.count) == all)
                    #expect(rig.channel.isActive && room.contains(rig.channel))
                }
                room.close(.immediate)
                await room.closed()
                for loop in group.loops { #expect(Self.onTheWay(loop) == 0) }
            }
        }
    }
}
