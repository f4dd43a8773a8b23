import Glibc
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// An outgoing channel may be made first and connected later, once; whatever is done out of turn has a defined end.
    struct MadeChannelTests {
        private struct Given: Error {}

        @Test(arguments: Place.all, [false, true]) func isConfiguredBeforeItConnects(_ place: Place, _ onLoop: Bool)
            async throws
        {
            try await withGroup(place.engine, loops: 2) { group in
                let log = Watched(Recording())
                let server = try await group.serve(place) { [EchoHandler()] }
                let loop = group.loops[1]
                let client = ClientBootstrap(group: group).options(.waterMark(low: 10, high: 20))
                    .handlers { [RecordingHandler(log)] }
                let make: @Sendable () throws -> Channel = {
                    let channel = try client.makeChannel(on: loop)
                    if onLoop { #expect(log.value.events == [.added]) }
                    return channel
                }
                let made = onLoop ? await loop.run { Result(catching: make) } : Result(catching: make)
                let channel = try #require(made).get()
                #expect(channel.eventLoop === loop && !channel.isActive && channel.waterMark.high == 20)
                let closed = Watched(false)
                channel.onClose { closed.update { $0 = true } }
                _ = await loop.run { channel.pipeline.addLast(RecordingHandler(log)) }
                #expect(log.value.events == [.added, .added])
                try await channel.connect(to: server.address)
                #expect(channel.isActive)
                #expect(log.value.events == [.added, .added, .active, .active])
                try await channel.send("echo")
                try await log.wait(for: "the answer") { $0.bytes.count == 8 }
                #expect(!closed.value)
                channel.close()
                await channel.closed()
                #expect(closed.value)
                try await log.wait(for: "both to leave") { $0.count(of: .removed) == 2 }
            }
        }

        /// On the loop, with a promise: told behind the handlers.
        @Test(arguments: Place.all) func isConnectedByAPromise(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let server = try await group.serve(place)
                let channel = try ClientBootstrap(group: group).handlers { [RecordingHandler(log)] }.makeChannel()
                try await group.turn {
                    channel.connect(
                        to: server.address,
                        promise: .callback { result in
                            #expect(channel.eventLoop.isCurrent && result == nil)
                            log.update { $0.events.append(.note("told")) }
                        })
                }
                let seen = try await log.wait(for: "the promise") { $0.events.contains(.note("told")) }
                #expect(seen.events == [.added, .active, .note("told")])
                channel.close(.immediate)
                await channel.closed()
            }
        }

        // MARK: Out of turn

        @Test(arguments: Place.all) func aWriteBeforeIsRefused(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let server = try await group.serve(place) { [EchoHandler()] }
                let channel = try ClientBootstrap(group: group).makeChannel()
                await expectError(.notYetConnected, .none) { try await channel.send("too early") }
                channel.writeAndFlush("nobody waits for this one")
                try await channel.connect(to: server.address)
                try await channel.send("in time")
                let peer = try await server.accepted.wait(for: "the connection") { $0.count == 1 }[0]
                #expect(channel.isActive && peer.isActive)
                channel.close(.immediate)
                await channel.closed()
            }
        }

        /// The first is none the worse for it.
        @Test(arguments: Place.all) func aSecondConnectIsRefused(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let server = try await group.serve(place)
                let channel = try ClientBootstrap(group: group).makeChannel()
                let told = Watched<[TransportError?]>([])
                try await group.turn {
                    for _ in 0..<2 {
                        channel.connect(
                            to: server.address, promise: .callback { result in told.update { $0.append(result) } })
                    }
                }
                let results = try await told.wait(for: "both") { $0.count == 2 }
                #expect(
                    results.map { $0?.code } == [.alreadyConnected, nil]
                        || results.map { $0?.code } == [nil, .alreadyConnected])
                await expectError(.alreadyConnected, .connect, 0, about: server.address.description) {
                    try await channel.connect(to: server.address)
                }
                #expect(channel.isActive && server.accepted.value.count == 1)
                // Nor may one that came otherwise be connected.
                await expectError(.alreadyConnected, .connect) {
                    try await server.accepted.value[0].connect(to: server.address)
                }
                let other = try await ClientBootstrap(group: group).connect(to: server.address)
                await expectError(.alreadyConnected, .connect) { try await other.connect(to: server.address) }
                #expect(other.isActive)
                for channel in [channel, other] {
                    channel.close(.immediate)
                    await channel.closed()
                    await expectError(.closed, .connect) { try await channel.connect(to: server.address) }
                }
            }
        }

        @Test(arguments: Engine.allCases, [CloseMode.graceful, .immediate, .reset])
        func oneThatIsClosedBefore(_ engine: Engine, _ mode: CloseMode) async throws {
            try await withGroup(engine) { group in
                let log = Watched(Recording())
                let hole = try BlackHole()
                let channel = try ClientBootstrap(group: group).handlers { [RecordingHandler(log)] }.makeChannel()
                channel.close(mode)
                await channel.closed()
                #expect(log.value.events == [.added, .removed])
                await expectError(.closed, .connect, 0, about: hole.address.description) {
                    try await channel.connect(to: hole.address)
                }
                channel.close()
                await channel.closed()
                #expect(try await group.turn { channel.pipeline.addLast(EchoHandler()) } == false)
                #expect(await group.loops[0].statistics()?.armedTimers == LoopEnd.timers)
            }
        }

        enum End: CaseIterable, Sendable { case close, cancellation, timeLimit, serverless, shutdown }

        /// While it connects, to somebody who does not answer or is not there.
        @Test(arguments: Engine.allCases, End.allCases) func oneThatIsNeverConnected(_ engine: Engine, _ end: End)
            async throws
        {
            try await withGroup(engine) { group in
                let log = Watched(Recording())
                let hole = try BlackHole()
                let refusing = try RawSocket.bound(to: SocketAddress(host: "127.0.0.1", port: 0))
                let address = try end == .serverless ? refusing.localAddress : hole.address
                let channel = try ClientBootstrap(group: group)
                    .connectTimeout(end == .timeLimit ? .milliseconds(20) : .seconds(600))
                    .handlers { [RecordingHandler(log)] }.makeChannel()
                let (code, number): (TransportError.Code, Int32) =
                    switch end {
                    case .close: (.closed, 0)
                    case .cancellation: (.cancelled, 0)
                    case .timeLimit: (.timedOut, ETIMEDOUT)
                    case .serverless: (.connectionRefused, ECONNREFUSED)
                    case .shutdown: (.loopShutDown, 0)
                    }
                let connect = Task {
                    await expectError(code, .connect, number, about: address.description) {
                        try await channel.connect(to: address)
                    }
                }
                if end == .close || end == .cancellation || end == .shutdown {
                    try await eventually("the connect to begin") {
                        await group.loops[0].statistics()?.openEndpoints == 1
                    }
                }
                switch end {
                case .close: channel.close()
                case .cancellation: connect.cancel()
                case .shutdown: await group.shutdown()
                case .timeLimit, .serverless: break
                }
                _ = await connect.value
                await channel.closed()
                #expect(log.value.events == [.added, .removed])
                if end != .shutdown {
                    // What it failed with it fails with again.
                    await expectError(code, .connect) { try await channel.connect(to: address) }
                    try await eventually("nothing to be left") {
                        await group.loops[0].statistics()?.openEndpoints == 0
                    }
                    #expect(await group.loops[0].statistics()?.armedTimers == LoopEnd.timers)
                }
                refusing.close()
            }
        }

        /// The loop holds it until it ends, and no longer.
        @Test(arguments: Engine.allCases) func oneThatNobodyConnects(_ engine: Engine) async throws {
            let handlers = Watched(0)
            let channel = try await withGroup(engine) { group in
                let client = ClientBootstrap(group: group).handlers { [Counting(handlers)] }
                for _ in 0..<10 { _ = try client.makeChannel() }
                let kept = try client.makeChannel()
                await group.settle()
                #expect(handlers.value == 11)
                let report = await group.shutdown(within: .seconds(600))
                #expect(report.channelsIdle == 11 && report.isComplete)
                #expect(throws: TransportError(.loopShutDown)) { try client.makeChannel() }
                return kept
            }
            try await handlers.wait(for: "the handlers to go") { $0 == 0 }
            await channel.closed()
            let address = try SocketAddress(host: "127.0.0.1", port: 9)
            await expectError(.loopShutDown, .connect, 0, about: address.description) {
                try await channel.connect(to: address)
            }
            channel.close()
        }

        /// Connecting fails with the reason.
        @Test(arguments: Engine.allCases, [false, true])
        func handlersThatCannotBeMade(_ engine: Engine, _ waiting: Bool) async throws {
            try await withGroup(engine) { group in
                let hole = try BlackHole()
                let plain = ClientBootstrap(group: group)
                let client =
                    waiting
                    ? plain.handlers { _ in
                        await Task.yield()
                        throw Given()
                    } : plain.handlers { _ in throw Given() }
                for early in [true, false] {
                    let channel = try client.makeChannel()
                    if !early { await channel.closed() }
                    let error = await expectError(.handlerFailed, .connect, 0, about: hole.address.description) {
                        try await channel.connect(to: hole.address)
                    }
                    #expect(error?.underlying is Given)
                    await channel.closed()
                }
                #expect(throws: TransportError(.conflictingConfiguration, subject: "handlers")) {
                    try client.handlers { [] }.makeChannel()
                }
            }
        }

        /// Each moment in which a connect and a close may meet: one end, and nothing left.
        @Test(arguments: Place.all) func connectAndCloseMayMeet(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let server = try await group.serve(place)
                for round in 0..<100 {
                    let channel = try ClientBootstrap(group: group).makeChannel()
                    let connect = Task { try await channel.connect(to: server.address) }
                    for _ in 0..<round % 8 { await Task.yield() }
                    channel.close(round.isMultiple(of: 2) ? .immediate : .reset)
                    await channel.closed()
                    if case .failure(let error) = await connect.result {
                        #expect((error as? TransportError)?.code == .closed)
                    }
                    #expect(!channel.isActive)
                }
                try await eventually("only the listener to be left") {
                    await group.loops[0].statistics()?.openEndpoints == 1
                }
            }
        }
    }
}

/// Counts itself.
private final class Counting: ChannelHandler {
    private let count: Watched<Int>
    init(_ count: Watched<Int>) {
        self.count = count
        count.update { $0 += 1 }
    }
    deinit { count.update { $0 -= 1 } }
}
