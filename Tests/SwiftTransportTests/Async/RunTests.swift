import Glibc
import SwiftTransport
import Testing

extension Scenarios {
    /// A server whose connections are tasks of a group: they are the caller's children in all that matters.
    struct RunTests {
        @TaskLocal static var caller = "nobody"

        /// They see the caller's task-locals, run on their loops, and `run` returns when the last of them is over.
        @Test(arguments: Place.all) func connectionsAreTheCallersTasks(_ place: Place) async throws {
            try await withGroup(place.engine, loops: 2) { group in
                let server = try await ServerBootstrap(group: group).bind(to: place.freshAddress())
                let seen = Watched<[String]>([])
                let over = Watched(false)
                let run = Self.$caller.withValue("the test") {
                    Task {
                        try await server.run { connection in
                            let isHome = connection.channel.eventLoop.isCurrent
                            seen.update { $0.append("\(Self.caller) \(isHome)") }
                            for try await bytes in connection.inbound { try await connection.send(bytes) }
                            seen.update { $0.append("done") }
                        }
                        over.update { $0 = true }
                    }
                }
                let peers = try await blocking {
                    let peers = try (0..<8).map { _ in try RawSocket.connect(to: server.localAddress) }
                    guard try RawSocket.exchange([1, 2, 3], count: 5, with: peers) else { throw CancellationError() }
                    return peers
                }
                #expect(seen.value == Array(repeating: "the test true", count: 8))
                server.close()
                await server.closed()
                await group.settle()
                #expect(!over.value)
                for peer in peers { peer.close() }
                try await run.value
                #expect(seen.value.count { $0 == "done" } == 8)
            }
        }

        /// What comes before the call waits, with all it has sent.
        @Test(arguments: Place.all) func nothingIsAcceptedBeforeRun(_ place: Place) async throws {
            try await withGroup(place.engine, loops: 2) { group in
                let server = try await ServerBootstrap(group: group).bind(to: place.freshAddress())
                let peers = try await blocking {
                    try (0..<4).map { _ in
                        let peer = try RawSocket.connect(to: server.localAddress)
                        try peer.write("hello")
                        return peer
                    }
                }
                await group.settle()
                let open = await group.loops.asyncMap { await $0.statistics()?.openEndpoints ?? 0 }
                #expect(open.reduce(0, +) == (place.network == .tcp ? 2 : 1), "only listeners")
                let service = Task {
                    try await server.run { connection in
                        if let hello = try await connection.read() { try await connection.send(hello) }
                    }
                }
                for peer in peers {
                    let answer = try await blocking { peer.readToEnd().bytes }
                    #expect(String(decoding: answer, as: UTF8.self) == "hello")
                    peer.close()
                }
                server.close()
                try await service.value
            }
        }

        /// Cancelling the caller is a graceful shutdown: who waits for input is told, who is at work finishes.
        @Test(arguments: Place.all) func cancellingIsAGracefulShutdown(_ place: Place) async throws {
            try await withGroup(place.engine, loops: 2) { group in
                let server = try await ServerBootstrap(group: group).bind(to: place.freshAddress())
                let told = Watched<[String]>([])
                let service = Task {
                    try await server.run { connection in
                        guard let question = try await connection.read().map({ String($0) }) else { return }
                        told.update { $0.append(question) }
                        do throws(TransportError) {
                            if question == "wait" {
                                _ = try await connection.read()
                            } else {
                                while !connection.isShuttingDown { await Task.yield() }
                                try await connection.send(Buffer("finished, cancelled: \(Task.isCancelled)"))
                            }
                        } catch {
                            told.update { $0.append("\(error.code)") }
                        }
                    }
                }
                let peers = try await blocking {
                    try ["wait", "work"].map { question in
                        let peer = try RawSocket.connect(to: server.localAddress)
                        try peer.write(question)
                        return peer
                    }
                }
                try await told.wait(for: "the questions") { $0.count == 2 }
                service.cancel()
                let answers = try await blocking { peers.map { $0.readToEnd() } }
                try await service.value
                #expect(answers.map(\.error) == [0, 0])
                #expect(answers[0].bytes == [])
                #expect(String(decoding: answers[1].bytes, as: UTF8.self) == "finished, cancelled: false")
                #expect(told.value.contains("shuttingDown"))
                for peer in peers { peer.close() }
            }
        }

        /// Who is not done in time is reset, and its task cancelled, whatever it waits for.
        @Test(arguments: Engine.allCases) func whoIsNotDoneInTimeIsCancelled(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let server = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0)
                let ends = Watched<[String]>([])
                let service = Task {
                    try await server.run(
                        shutdownWithin: .milliseconds(10), onError: { error in ends.update { $0.append("\(error)") } }
                    ) { connection in
                        ends.update { $0.append("began") }
                        defer { ends.update { $0.append("cancelled \(Task.isCancelled)") } }
                        try await Task.sleep(for: .seconds(3600))
                    }
                }
                let peer = try await blocking { try RawSocket.connect(to: server.localAddress) }
                try await ends.wait(for: "the task") { $0.count == 1 }
                service.cancel()
                try await service.value
                #expect(ends.value == ["began", "cancelled true", "CancellationError()"])
                let end = try await blocking { peer.readToEnd() }
                #expect(end.error == ECONNRESET)
                peer.close()
            }
        }

        /// When a connection breaks, its task is cancelled, and no other.
        @Test(arguments: Place.all) func aBrokenConnectionCancelsItsOwnTask(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let server = try await ServerBootstrap(group: group).bind(to: place.freshAddress())
                let ended = Watched<[Bool]>([])
                let service = Task {
                    try await server.run { connection in
                        try await connection.send(Buffer("never read"))
                        try? await Task.sleep(for: .seconds(3600))
                        ended.update { $0.append(Task.isCancelled) }
                    }
                }
                let peers = try await blocking {
                    let peers = try (0..<2).map { _ in try RawSocket.connect(to: server.localAddress) }
                    _ = try peers[1].read(10)
                    return peers
                }
                try await eventually("both to be served") { await group.loops[0].statistics()?.openEndpoints == 3 }
                peers[0].reset()
                try await ended.wait(for: "the task to end") { $0 == [true] }
                await group.settle()
                #expect(ended.value == [true])
                #expect(await server.shutdown(within: .zero).channelsCutOff == 1)
                try await service.value
                #expect(ended.value == [true, true])
                peers[1].close()
            }
        }

        /// A server that ends with its group ends its `run` too; one that is over returns at once.
        @Test(arguments: Engine.allCases) func runEndsWithItsGroup(_ engine: Engine) async throws {
            let over = Watched(0)
            try await withGroup(engine, loops: 2) { group in
                let first = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0)
                let second = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0)
                second.close()
                await second.closed()
                try await second.run { _ in Issue.record("nobody can have connected") }
                Task {
                    try await first.run { _ in }
                    over.update { $0 += 1 }
                }
                await group.settle()
            }
            try await over.wait(for: "run to return") { $0 == 1 }
        }

        /// Connections come behind the handlers, where that is asked for.
        @Test(arguments: Place.all) func connectionsComeBehindHandlers(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let server = try await ServerBootstrap(group: group).childConnections()
                    .childHandlers { [RecordingHandler(log)] }.bind(to: place.freshAddress())
                let service = Task {
                    try await server.run { connection in
                        if let bytes = try await connection.read() { try await connection.send(bytes) }
                    }
                }
                let peer = try await blocking {
                    let peer = try RawSocket.connect(to: server.localAddress)
                    try peer.write("through both")
                    return peer
                }
                #expect(try await blocking { peer.readToEnd().bytes } == Array("through both".utf8))
                peer.close()
                #expect(log.value.text == "through both")
                server.close()
                try await service.value
            }
        }

        enum Otherwise: CaseIterable, Sendable { case handlers, serve, run }

        /// Nobody's connections are taken away in silence.
        @Test(arguments: Engine.allCases, Otherwise.allCases)
        func runIsRefusedWhereConnectionsAreServedOtherwise(_ engine: Engine, _ otherwise: Otherwise) async throws {
            try await withGroup(engine) { group in
                var bootstrap = ServerBootstrap(group: group)
                switch otherwise {
                case .handlers: bootstrap = bootstrap.childHandlers { [EchoHandler()] }
                case .serve: bootstrap = bootstrap.serve { _ in }
                case .run: break
                }
                let server = try await bootstrap.bind(host: "127.0.0.1", port: 0)
                let first = otherwise == .run ? Task { try await server.run { _ in } } : nil
                if first == nil {
                    await expectError(.conflictingConfiguration, .none, about: "run") { try await server.run { _ in } }
                } else {
                    let second = Task { try await server.run { _ in } }
                    server.close()
                    // Which of the two came first is nobody's business.
                    let codes = await [first, second].compactMap(\.self).asyncMap { task -> TransportError.Code? in
                        do { try await task.value } catch { return (error as? TransportError)?.code }
                        return nil
                    }
                    #expect(codes.count { $0 == .conflictingConfiguration } == 1)
                    #expect(codes.count { $0 == nil } == 1)
                }
            }
        }
    }
}
