import SwiftTransport
import Testing
import TransportTesting

/// Silence on a channel, on a clock that the test moves (I1 to I10). A limit may be told up to a tick late: a sixteenth of it here, and 4 ms
/// for units and turns.
@Suite struct IdleTests {
    private static let limit = idleLimit
    private static let tick: Duration = .milliseconds(104)

    /// What was told so far, as texts.
    private static func told(_ test: TestChannel) -> [String] {
        test.takeUserEvents().compactMap { $0 as? IdleStateEvent }.map { "\($0.state)\($0.isFirst ? " first" : "")" }
    }

    private static func channel(
        _ engine: Engine, reader: Duration? = nil, writer: Duration? = nil, all: Duration? = nil
    ) throws -> TestChannel {
        try TestChannel(IdleStateHandler(reader: reader, writer: writer, all: all), engine: engine)
    }

    @Test(arguments: Engine.allCases) func aReaderIsToldOncePerLimitAndNeverEarly(engine: Engine) throws {
        let test = try Self.channel(engine, reader: Self.limit)
        try test.advance(by: Self.limit - .milliseconds(1))
        #expect(Self.told(test) == [])
        try test.advance(by: Self.tick)
        #expect(Self.told(test) == ["reader first"])
        try test.advance(by: Self.limit + Self.tick)
        #expect(Self.told(test) == ["reader"])
        try test.peer.send("x")
        try test.advance(by: Self.limit - .milliseconds(1))
        #expect(Self.told(test) == [])
        try test.advance(by: Self.tick)
        #expect(Self.told(test) == ["reader first"])
        _ = try test.finish()
    }

    @Test(arguments: Engine.allCases) func bytesPostponeIt(engine: Engine) throws {
        let test = try Self.channel(engine, reader: Self.limit)
        for _ in 0..<20 {
            try test.advance(by: Self.limit / 2)
            try test.peer.send("x")
        }
        #expect(Self.told(test) == [])
        // What this end sends does not.
        for _ in 0..<4 {
            try test.advance(by: Self.limit / 2)
            try test.run { $0.writeAndFlush("y") }
        }
        #expect(Self.told(test).first == "reader first")
        _ = try test.finish()
    }

    @Test(arguments: Engine.allCases) func aWriterIsToldWhenNothingGoesOut(engine: Engine) throws {
        let test = try Self.channel(engine, writer: Self.limit)
        for _ in 0..<4 {
            try test.advance(by: Self.limit / 2)
            try test.run { $0.writeAndFlush("y") }
        }
        #expect(Self.told(test) == [])
        for _ in 0..<4 {
            try test.advance(by: Self.limit / 2)
            try test.peer.send("x")
        }
        #expect(Self.told(test).first == "writer first")
        _ = try test.finish()
    }

    @Test(arguments: Engine.allCases) func eitherDirectionCountsForAll(engine: Engine) throws {
        let test = try Self.channel(engine, all: Self.limit)
        for round in 0..<6 {
            try test.advance(by: Self.limit * 0.7)
            if round % 2 == 0 { try test.peer.send("x") } else { try test.run { $0.writeAndFlush("y") } }
        }
        #expect(Self.told(test) == [])
        try test.advance(by: Self.limit + Self.tick)
        #expect(Self.told(test) == ["all first"])
        _ = try test.finish()
    }

    /// A peer that takes a byte now and then is slow and not idle; one that takes none is (I7).
    @Test(arguments: Engine.allCases) func progressCountsAndNotTheEndOfAWrite(engine: Engine) throws {
        let test = try Self.channel(engine, writer: Self.limit)
        try test.peer.stopReading()
        try test.run { $0.writeAndFlush(Buffer([UInt8](repeating: 1, count: 400_000))) }
        for _ in 0..<10 {
            try test.advance(by: Self.limit * 0.7)
            try test.peer.startReading()
            try test.peer.stopReading()
            try test.run { $0.writeAndFlush(Buffer([UInt8](repeating: 1, count: 60_000))) }
        }
        #expect(Self.told(test) == [])
        try test.advance(by: Self.limit * 2)
        #expect(Self.told(test).first == "writer first")
        try test.peer.startReading()
        _ = try test.finish()
    }

    /// While nobody here wants bytes their absence says nothing of the peer; the limit begins anew afterwards.
    @Test(arguments: Engine.allCases) func whoDoesNotReadIsNotLeftWaiting(engine: Engine) throws {
        let test = try Self.channel(engine, reader: Self.limit)
        test.channel.setAutomaticReading(false)
        try test.advance(by: Self.limit * 10)
        #expect(Self.told(test) == [])
        test.channel.setAutomaticReading(true)
        try test.advance(by: Self.limit - .milliseconds(1))
        #expect(Self.told(test) == [])
        try test.advance(by: Self.tick)
        #expect(Self.told(test) == ["reader first"])
        _ = try test.finish()
    }

    @Test(arguments: Engine.allCases) func limitsMayChange(engine: Engine) throws {
        let test = try TestChannel(
            Self.Silent(), options: [.idle(IdleLimits(reader: Self.limit * 100))], engine: engine)
        try test.advance(by: Self.limit * 3)
        #expect(Self.told(test) == [])
        test.channel.setIdleLimits(IdleLimits(reader: Self.limit))
        try test.advance(by: Self.limit + Self.tick)
        #expect(Self.told(test) == ["reader first"])
        test.channel.setIdleLimits(IdleLimits())
        try test.advance(by: Self.limit * 30)
        #expect(Self.told(test) == [])
        _ = try test.finish()
    }

    private final class Silent: ChannelHandler { static let interests: ChannelEvents = [] }

    /// Two limits of one channel, and one of another handler's, are three.
    @Test func everybodyHasLimitsOfItsOwn() throws {
        final class Own: ChannelHandler {
            var told: [IdleStateEvent] = []
            func handlerAdded(_ context: ChannelContext) {
                context.setIdleLimits(IdleLimits(reader: idleLimit * 2, all: idleLimit))
            }
            func channelIdle(_ context: ChannelContext, _ event: IdleStateEvent) { told.append(event) }
        }
        let own = Own()
        let test = try TestChannel(own, options: [.idle(IdleLimits(reader: Self.limit * 4))])
        try test.advance(by: Self.limit * 2 + Self.tick)
        #expect(
            Set(own.told) == [
                IdleStateEvent(state: .all, isFirst: true), IdleStateEvent(state: .reader, isFirst: true),
                IdleStateEvent(state: .all, isFirst: false),
            ] && own.told.count == 3)
        #expect(Self.told(test) == [])
        try test.advance(by: Self.limit * 2 + Self.tick)
        #expect(Self.told(test) == ["reader first"])
        _ = try test.finish()
    }

    /// Whoever is told may leave, and close.
    @Test(arguments: Engine.allCases) func whoIsToldMayClose(engine: Engine) throws {
        final class Closing: ChannelHandler {
            func handlerAdded(_ context: ChannelContext) {
                context.setIdleLimits(IdleLimits(reader: idleLimit, writer: idleLimit, all: idleLimit))
            }
            func channelIdle(_ context: ChannelContext, _ event: IdleStateEvent) {
                context.channel.pipeline.remove(context)
                context.close()
            }
        }
        let test = try TestChannel(Closing(), options: [.idle(IdleLimits(reader: Self.limit))], engine: engine)
        try test.advance(by: Self.limit + Self.tick)
        try test.peer.close()
        #expect(!test.channel.isActive)
        #expect(Self.told(test).count <= 1)
        _ = try test.finish()
    }

    // MARK: Time limits

    @Test(arguments: Engine.allCases) func aReadTimeoutEndsTheChannel(engine: Engine) throws {
        let test = try TestChannel(ReadTimeoutHandler(Self.limit), engine: engine)
        for _ in 0..<4 {
            try test.advance(by: Self.limit / 2)
            try test.peer.send("x")
        }
        #expect(test.channel.isActive)
        try test.advance(by: Self.limit + Self.tick)
        let errors = test.takeErrors().compactMap { $0 as? TransportError }
        #expect(errors.map(\.code) == [.timedOut] && errors.first?.call == .receive)
        #expect(errors.first?.description.contains("nothing came from 10.0.0.") == true)
        #expect(!test.channel.isActive)
    }

    /// A slow reader may take as long as it takes; one that takes nothing is given up, and so is nobody who has nothing to take.
    @Test(arguments: Engine.allCases) func aWriteTimeoutIsAboutProgress(engine: Engine) throws {
        let test = try TestChannel(WriteTimeoutHandler(Self.limit), engine: engine)
        try test.advance(by: Self.limit * 20)
        #expect(test.channel.isActive)
        try test.peer.stopReading()
        try test.run { $0.write("not flushed") }
        try test.advance(by: Self.limit * 3)
        #expect(test.channel.isActive)
        try test.run { $0.writeAndFlush(Buffer([UInt8](repeating: 1, count: 400_000))) }
        for _ in 0..<10 {
            try test.advance(by: Self.limit * 0.7)
            try test.peer.startReading()
            try test.peer.stopReading()
            try test.run { $0.writeAndFlush(Buffer([UInt8](repeating: 1, count: 60_000))) }
        }
        #expect(test.channel.isActive)
        try test.advance(by: Self.limit * 2 + Self.tick)
        #expect(!test.channel.isActive)
        let errors = test.takeErrors().compactMap { $0 as? TransportError }
        #expect(errors.map(\.code) == [.timedOut] && errors.first?.call == .send)
        #expect(test.peer.ending == .open)
        try test.peer.startReading()
        #expect(test.peer.ending == .reset)
    }

    // MARK: Heartbeats

    private static let schedule = HeartbeatHandler.Schedule(write: .seconds(30), read: .seconds(70), jitter: 0)

    /// F11: writes keep nobody alive. Silence of 70 s from the last byte is the end, with the lines of F12.
    @Test(arguments: Engine.allCases) func heartbeatsLeaveAndTheVerdictComesAllTheSame(engine: Engine) throws {
        var lines: [String] = []
        let test = try TestChannel(
            HeartbeatHandler(Self.schedule, ping: "ping\n", log: { lines.append($0) }), engine: engine)
        try test.peer.send("hello")
        try test.advance(by: .seconds(69))
        #expect(test.peer.takeBytes() == "ping\nping\n")
        #expect(test.channel.isActive)
        try test.advance(by: .milliseconds(1200))
        #expect(!test.channel.isActive)
        #expect(lines.count == 3)
        let ends = "[id: 0x"
        #expect(
            lines.prefix(2).allSatisfy { $0.hasPrefix("Channel write idled: \(ends)") && $0.contains(" - R:/10.0.0.") })
        #expect(lines.last?.hasPrefix("Channel read idled: \(ends)") == true)
        #expect(lines.last?.hasSuffix(", channel will be closed") == true)
    }

    /// N9: behind what does not leave no heartbeat is queued, and the verdict comes.
    @Test func noHeartbeatIsPutBehindWhatDoesNotLeave() throws {
        let test = try TestChannel(HeartbeatHandler(Self.schedule, ping: "ping\n"))
        try test.peer.stopReading()
        try test.run { $0.writeAndFlush(Buffer([UInt8](repeating: 1, count: 400_000))) }
        let pending = test.channel.pendingBytes
        try test.advance(by: .seconds(69))
        #expect(test.channel.pendingBytes == pending && test.channel.isActive)
        try test.advance(by: .milliseconds(1200))
        #expect(!test.channel.isActive)
    }

    /// A peer that answers lives as long as it does.
    @Test func whoAnswersLives() throws {
        let test = try TestChannel(HeartbeatHandler(Self.schedule, ping: "ping\n"))
        var beats = 0
        for _ in 0..<100 {
            try test.advance(by: .seconds(31))
            beats += test.peer.takeBytes().count / 5
            try test.peer.send("pong\n")
        }
        #expect(test.channel.isActive && (100...104).contains(beats))
        _ = try test.finish()
    }

    /// Connections that were made together do not beat together.
    @Test func heartbeatsSpread() async throws {
        let times = try await SimulatedNetwork.run(seed: 7) { network in
            let server = network.addHost("server")
            let client = network.addHost("client")
            let beats = Beats()
            let bound = try await ServerBootstrap(group: server.makeGroup())
                .childHandlers { [Listening(beats, network)] }
                .bind(host: "0.0.0.0", port: 7000)
            let group = try client.makeGroup()
            for _ in 0..<50 {
                _ = try await ClientBootstrap(group: group)
                    .handlers { [HeartbeatHandler(.fmq, ping: "!")] }
                    .connect(host: "server", port: 7000)
            }
            await network.advance(by: .seconds(60))
            bound.close()
            return beats.times
        }
        #expect(times.count >= 50)
        let first = times.prefix(50)
        #expect(first.allSatisfy { (27...30.3).contains($0) })
        #expect((first.max() ?? 0) - (first.min() ?? 0) > 1.5)
    }

    private final class Beats: @unchecked Sendable { var times: [Double] = [] }

    private final class Listening: ChannelHandler {
        private let beats: Beats
        private let network: SimulatedNetwork
        init(_ beats: Beats, _ network: SimulatedNetwork) {
            self.beats = beats
            self.network = network
        }
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
            beats.times.append(network.elapsed / .seconds(1))
        }
    }

    /// A channel that is silent for longer than the stamps can count is silent, and one that speaks then is not.
    @Test func silenceMayLastForMonths() throws {
        let test = try Self.channel(.epoll, reader: .seconds(200_000))
        var events: [String] = []
        for _ in 0..<60 {
            try test.advance(by: .seconds(216_000))
            events += Self.told(test)
        }
        #expect(events.first == "reader first" && events.dropFirst().allSatisfy { $0 == "reader" })
        #expect(events.count >= 60)
        try test.peer.send("at last")
        try test.advance(by: .seconds(190_000))
        #expect(Self.told(test) == [])
        try test.advance(by: .seconds(12_000))
        #expect(Self.told(test) == ["reader first"])
        _ = try test.finish()
    }
}

private let idleLimit: Duration = .milliseconds(1600)
