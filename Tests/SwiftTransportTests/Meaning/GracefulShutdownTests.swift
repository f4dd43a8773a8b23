import Glibc
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// A graceful shutdown lets work that is under way finish, closes what is idle at once, resets what is left, and its report
    /// tells the three apart; of a group and of a server alike.
    struct GracefulShutdownTests {
        enum Scope: CaseIterable, Sendable { case group, server }

        private func shutDown(_ scope: Scope, _ group: EventLoopGroup, _ server: ServerChannel, _ time: Duration) async
            -> ShutdownReport
        {
            scope == .group ? await group.shutdown(within: time) : await server.shutdown(within: time)
        }

        /// One connection is idle, one at work until it is let go, one never ends.
        @Test(arguments: Engine.allCases, Scope.allCases)
        func idleFinishedAndCutOffAreCounted(_ engine: Engine, _ scope: Scope) async throws {
            try await withGroup(engine, loops: 2) { group in
                let told = Watched([String]())
                let server = try await ServerBootstrap(group: group)
                    .serve { connection in
                        var inbound = connection.inbound.makeAsyncIterator()
                        guard let question = try await inbound.next().map({ String($0) }) else { return }
                        told.update { $0.append(question) }
                        if question == "for ever" {
                            await connection.channel.closed()
                            return
                        }
                        try await connection.send(Buffer("first half, "))
                        if question == "idle" {
                            do {
                                _ = try await inbound.next()
                            } catch let error as TransportError {
                                told.update { $0.append("\(error.code)") }
                            }
                            return
                        }
                        while !connection.isShuttingDown { try await Task.sleep(for: .milliseconds(1)) }
                        told.update { $0.append("sees it") }
                        try await connection.send(Buffer("second half"))
                    }.bind(host: "127.0.0.1", port: 0)
                let questions = ["idle", "at work", "for ever"]
                let peers = try await blocking {
                    try questions.map { question in
                        let peer = try RawSocket.connect(to: server.localAddress)
                        try peer.write(question)
                        return peer
                    }
                }
                try await told.wait(for: "the questions") { $0.count == 3 }
                let halves = try await blocking { try peers[..<2].map { try $0.read(12) } }
                #expect(halves.allSatisfy { $0 == Array("first half, ".utf8) })
                let report = await shutDown(scope, group, server, .milliseconds(300))
                #expect(report.channelsIdle == 1)
                #expect(report.channelsFinished == 1)
                #expect(report.channelsCutOff == 1)
                #expect(!report.isComplete)
                let ends = try await blocking { peers.map { $0.readToEnd() } }
                #expect(ends[0].bytes == [] && ends[0].error == 0)
                #expect(ends[1].bytes == Array("second half".utf8) && ends[1].error == 0)
                #expect(ends[2].error == ECONNRESET)
                try await told.wait(for: "all three to have ended") {
                    $0.contains("shuttingDown") && $0.contains("sees it")
                }
                if scope == .server {
                    // The group goes on.
                    #expect(await group.loops[0].run { true } == true)
                }
            }
        }

        /// A handler that has work under way keeps the event and closes when it is done; one that has none passes it on.
        @Test(arguments: Engine.allCases)
        func handlersHearOfIt(_ engine: Engine) async throws {
            final class Worker: ChannelHandler {
                static let interests: ChannelEvents = [.shutdown]
                let isAtWork: Bool
                let log: Watched<[String]>
                init(_ isAtWork: Bool, _ log: Watched<[String]>) {
                    self.isAtWork = isAtWork
                    self.log = log
                }
                func shutdownBegan(_ context: ChannelContext) {
                    log.update { $0.append(isAtWork ? "works" : "idles") }
                    if !isAtWork { return context.fireShutdownBegan() }
                    let channel = context.channel
                    context.eventLoop.schedule(after: .milliseconds(20)) {
                        channel.write(Buffer("done"))
                        channel.close()
                    }
                }
            }
            try await withGroup(engine) { group in
                let log = Watched([String]())
                let place = Place(engine: engine, network: .tcp)
                let (_, idle) = try await group.connection(place) { [Worker(false, log)] }
                let (_, busy) = try await group.connection(place) { [Worker(true, log), Worker(false, log)] }
                let report = await group.shutdown(within: .seconds(20))
                #expect(log.value.sorted() == ["idles", "works"])
                #expect(report == ShutdownReport(channelsIdle: 1, channelsFinished: 1))
                let ends = try await blocking { [idle.readToEnd(), busy.readToEnd()] }
                #expect(ends[0].bytes == [] && ends[1].bytes == Array("done".utf8))
                #expect(ends.allSatisfy { $0.error == 0 })
            }
        }

        /// A second shutdown in less time cuts the first one short.
        @Test(arguments: Engine.allCases)
        func aShorterOneCounts(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let started = Watched(false)
                let server = try await ServerBootstrap(group: group).serve { connection in
                    started.update { $0 = true }
                    await connection.channel.closed()
                }.bind(host: "127.0.0.1", port: 0)
                let peer = try await blocking { try RawSocket.connect(to: server.localAddress) }
                try await started.wait(for: "the task") { $0 }
                async let first = group.shutdown(within: .seconds(3600))
                try await eventually("the first to begin") {
                    await group.loops[0].run { [loop = group.loops[0]] in loop.own.phase != .running } ?? true
                }
                _ = await group.shutdown(within: .zero)
                #expect(await first.channelsCutOff == 1)
                #expect(try await blocking { peer.readToEnd().error } == ECONNRESET)
            }
        }

        /// Memory of zero-copy sends is the kernel's until the peer has it, and a peer that does not read may never: closing has
        /// a deadline all the same.
        @Test(arguments: [CloseMode.immediate, .graceful, nil])
        func zeroCopyToAPeerThatDoesNotReadEnds(_ mode: CloseMode?) async throws {
            try await withGroup(.uring) { group in
                let place = Place(engine: .uring, network: .tcp)
                let (channel, peer) = try await group.connection(
                    place, .zeroCopy(from: .kibibytes(32)), peerReceiveBuffer: 32768)
                try await channel.send(Buffer([UInt8](repeating: 7, count: 200_000)))
                if let mode { channel.close(mode) }
                let report = await group.shutdown(within: .milliseconds(100))
                await channel.closed()
                #expect(report.channelsIdle + report.channelsFinished + report.channelsCutOff == 1)
                peer.close()
            }
        }

        /// Input that was kept for a task is handed out after the loop has ended, and then its end: the peer's own.
        @Test(arguments: Engine.allCases, [true, false])
        func keptInputIsHandedOut(_ engine: Engine, ended: Bool) async throws {
            let bytes = Pattern(seed: 3).bytes(at: 0, count: 10_000)
            var connection: Connection?
            var other: RawSocket?
            try await withGroup(engine) { group in
                let listener = try RawSocket.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
                let opened = try await ClientBootstrap(group: group).open(listener.localAddress)
                connection = opened
                let peer = try await blocking { try listener.accept() }
                other = peer
                try peer.write(bytes)
                if ended { peer.shutdownOutput() }
                try await eventually("all to be received") {
                    (await group.loops[0].statistics()?.receivedBytes ?? 0) == UInt64(bytes.count)
                }
                for _ in 0..<20 { await group.settle() }
            }
            var received: [UInt8] = []
            var failure: TransportError.Code?
            do {
                for try await piece in try #require(connection).inbound { received += [UInt8](piece) }
            } catch let error as TransportError {
                failure = error.code
            }
            #expect(received == bytes)
            other?.close()
            // Only the peer's own end is a clean one.
            #expect(failure == (ended ? nil : .shuttingDown))
        }
    }
}
