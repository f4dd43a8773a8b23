import SwiftTransport
import Testing

extension Scenarios {
    /// A task that is cancelled does not wait any longer, wherever it runs and whatever it waits for.
    struct CancellationTests {
        enum When: String, CaseIterable, Sendable { case before, whileWaiting }

        struct Reader: CustomTestStringConvertible, Sendable {
            let onLoop: Bool
            let when: When
            static let all = [false, true].flatMap { onLoop in When.allCases.map { Reader(onLoop: onLoop, when: $0) } }
            var testDescription: String { "\(onLoop ? "on" : "off") the loop, cancelled \(when)" }
        }

        /// The connection is none the worse: the next reader gets what comes.
        @Test(arguments: Engine.allCases, Reader.all) func aReadMayBeCancelled(_ engine: Engine, _ reader: Reader)
            async throws
        {
            try await withGroup(engine) { group in
                let listener = try RawSocket.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
                let connection = try await ClientBootstrap(group: group).open(listener.localAddress)
                let peer = try await blocking { try listener.accept() }
                let started = Watched(false)
                let outcome = Watched<[TransportError.Code?]>([])
                let read: @Sendable () async -> Void = {
                    if reader.when == .before { withUnsafeCurrentTask { $0?.cancel() } }
                    started.update { $0 = true }
                    var inbound = connection.inbound.makeAsyncIterator()
                    do throws(TransportError) {
                        _ = try await inbound.next()
                        outcome.update { $0.append(nil) }
                    } catch {
                        outcome.update { $0.append(error.code) }
                    }
                }
                let executor = reader.onLoop ? group.loops[0].taskExecutor : nil
                let task = Task(executorPreference: executor) { await read() }
                try await started.wait(for: "the task") { $0 }
                for _ in 0..<3 { await group.settle() }
                task.cancel()
                let told = try await outcome.wait(for: "the cancelled reader") { !$0.isEmpty }
                #expect(told == [.cancelled])

                try await blocking { try peer.write("for the next") }
                var inbound = connection.inbound.makeAsyncIterator()
                #expect(try await inbound.next().map { String($0) } == "for the next")
                peer.close()
                await connection.close()
            }
        }

        @Test(arguments: Engine.allCases, When.allCases) func aConnectMayBeCancelled(_ engine: Engine, _ when: When)
            async throws
        {
            try await withGroup(engine) { group in
                let hole = try BlackHole()
                let loop = group.loops[0]
                let failure = Task {
                    if when == .before { withUnsafeCurrentTask { $0?.cancel() } }
                    return await expectError(.cancelled, .connect) {
                        try await ClientBootstrap(group: group).connect(to: hole.address)
                    }
                }
                if when == .whileWaiting {
                    try await eventually("the connect to begin") { await loop.statistics()?.openEndpoints == 1 }
                    failure.cancel()
                }
                _ = await failure.value
                try await eventually("nothing to be left") { await loop.statistics()?.openEndpoints == 0 }
                #expect(await loop.statistics()?.armedTimers == LoopEnd.timers)
            }
        }

        /// Many connects, each cancelled at another moment: each ends one way or the other, and nothing is left.
        @Test(arguments: Place.all) func aConnectMayBeCancelledAtAnyMoment(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let server = try await group.serve(place)
                var ends = 0
                for turns in 0..<60 {
                    let connect = Task { try await ClientBootstrap(group: group).connect(to: server.address) }
                    for _ in 0..<turns % 6 { await Task.yield() }
                    connect.cancel()
                    do {
                        let channel = try await connect.value
                        channel.close(.immediate)
                        await channel.closed()
                    } catch let error as TransportError {
                        #expect(error.code == .cancelled)
                    }
                    ends += 1
                }
                #expect(ends == 60)
                try await eventually("only the listener to be left") {
                    await group.loops[0].statistics()?.openEndpoints == 1
                }
            }
        }
    }
}
