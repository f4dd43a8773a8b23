import Glibc
import SwiftTransport
import Synchronization
import Testing

extension Scenarios {
    /// `serve` and `open`, structured concurrency on the connection's own loop.
    struct ConnectionTests {
        @Test(arguments: Place.all) func serveAndOpenEcho(_ place: Place) async throws {
            try await withGroup(place.engine, loops: 2) { group in
                let served = Watched(0)
                let server = try await ServerBootstrap(group: group).serve { connection in
                    for try await bytes in connection.inbound { try await connection.send(bytes) }
                    served.update { $0 += 1 }
                }.bind(to: place.freshAddress())
                try await withThrowingTaskGroup { clients in
                    for seed in UInt64(0)..<20 {
                        clients.addTask {
                            let connection = try await ClientBootstrap(group: group).open(server.localAddress)
                            let pattern = Pattern(seed: seed)
                            let size = 300_000
                            async let sending: Void = {
                                for offset in stride(from: 0, to: size, by: 10_000) {
                                    try await connection.send(Buffer(pattern.bytes(at: offset, count: 10_000)))
                                }
                                connection.channel.shutdownOutput()
                            }()
                            var received = 0
                            for try await bytes in connection.inbound {
                                #expect(bytes.withUnsafeBytes { pattern.matches($0, at: received) })
                                received += bytes.count
                            }
                            try await sending
                            #expect(received == size)
                            await connection.close()
                            #expect(!connection.channel.isActive)
                        }
                    }
                    try await clients.waitForAll()
                }
                try await served.wait(for: "all tasks of the server to end") { $0 == 20 }
            }
        }

        /// A question whose end comes with it is answered all the same: `echo hello | nc -N`. The end must not close the
        /// channel before the task has had its turn.
        @Test(arguments: Place.all) func aQuestionThatEndsIsAnswered(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let server = try await ServerBootstrap(group: group).serve { connection in
                    for try await bytes in connection.inbound { try await connection.send(bytes) }
                }.bind(to: place.freshAddress())
                let answer = try await blocking {
                    let peer = try RawSocket.connect(to: server.localAddress)
                    try peer.write("hello")
                    peer.shutdownOutput()
                    return peer.readToEnd().bytes
                }
                #expect(String(decoding: answer, as: UTF8.self) == "hello")
            }
        }

        /// When the task ends, so does the connection, with everything it wrote; a task that throws ends it too, and who wants
        /// to know is told what it threw, on the loop.
        @Test(arguments: Place.all, [false, true]) func theTasksEndIsTheConnections(_ place: Place, _ throwing: Bool)
            async throws
        {
            try await withGroup(place.engine) { group in
                let answer = Pattern(seed: 5).bytes(at: 0, count: 500_000)
                let loop = group.loops[0]
                let thrown = Watched<[String]>([])
                let onError: @Sendable (any Error) -> Void = { error in
                    thrown.update { $0.append("\(error) \(loop.isCurrent)") }
                }
                let server = try await ServerBootstrap(group: group).serve(onError: onError) { connection in
                    connection.channel.writeAndFlush(Buffer(answer))
                    if throwing { throw TransportError(.cancelled, call: .open) }
                }.bind(to: place.freshAddress())
                let received = try await blocking { try RawSocket.connect(to: server.localAddress).readToEnd() }
                #expect(received.bytes == answer)
                #expect(received.error == 0)
                #expect(thrown.value == (throwing ? ["\(TransportError(.cancelled, call: .open)) true"] : []))
            }
        }

        /// When the connection breaks, its task is cancelled, whatever it waits for.
        @Test(arguments: Place.all) func theConnectionsEndCancelsTheTask(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let ended = Watched<[Bool]>([])
                let written = Watched(false)
                let server = try await ServerBootstrap(group: group).serve { connection in
                    try await connection.send(Buffer("never read"))
                    written.update { $0 = true }
                    do { try await Task.sleep(for: .seconds(3600)) } catch {}
                    ended.update { $0.append(Task.isCancelled) }
                }.bind(to: place.freshAddress())
                let peer = try await blocking { try RawSocket.connect(to: server.localAddress) }
                // What is left unread makes the close of a Unix socket a reset too.
                try await written.wait(for: "the write") { $0 }
                peer.reset()
                try await ended.wait(for: "the task to end") { $0 == [true] }
            }
        }

        /// What broke the connection is thrown where somebody reads, once; what came before it is read first.
        @Test(arguments: Engine.allCases) func aResetIsThrownToTheReader(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let listener = try RawSocket.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
                let connection = try await ClientBootstrap(group: group).open(listener.localAddress)
                let peer = try await blocking { try listener.accept() }
                var inbound = connection.inbound.makeAsyncIterator()
                try await blocking { try peer.write("last words") }
                let words = try #require(try await inbound.next())
                #expect(String(words) == "last words")
                peer.reset()
                await expectError(.connectionLost, .receive, ECONNRESET) { try await inbound.next() }
                await expectError(.closed, .receive, ECONNRESET) { try await connection.send(Buffer("x")) }
                await connection.close()
            }
        }

        /// Only one may read at a time; the other one is told instead of waiting for ever.
        @Test(arguments: Engine.allCases) func twoReadersAreOneTooMany(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let listener = try RawSocket.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
                let connection = try await ClientBootstrap(group: group).open(listener.localAddress)
                let peer = try await blocking { try listener.accept() }
                let outcomes = Watched<[String]>([])
                for _ in 0..<2 {
                    Task {
                        var inbound = connection.inbound.makeAsyncIterator()
                        do throws(TransportError) {
                            let bytes = try await inbound.next()
                            outcomes.update { $0.append(bytes.map { String($0) } ?? "end") }
                        } catch {
                            outcomes.update { $0.append("\(error.code)") }
                        }
                    }
                }
                try await outcomes.wait(for: "the second reader") { $0.count == 1 }
                #expect(outcomes.value == ["alreadyReading"])
                try await blocking { try peer.write("for the first") }
                let both = try await outcomes.wait(for: "the first reader") { $0.count == 2 }
                #expect(both[1] == "for the first")
                peer.close()
                await connection.close()
            }
        }
    }
}
