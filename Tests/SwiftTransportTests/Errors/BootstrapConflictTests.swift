import SwiftTransport
import Testing

extension Scenarios {
    /// The parts of a bootstrap may come in any order; one that would replace another in silence is an error where the
    /// bootstrap is used.
    struct BootstrapConflictTests {
        /// Handlers first, then the task, whichever was named first; an option of the user's own counts more than what serving
        /// by a task brings along.
        @Test(arguments: Place.all, [false, true])
        func handlersAndTaskComeInAnyOrder(_ place: Place, _ taskFirst: Bool) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let empty = ServerBootstrap(group: group)
                let bootstrap =
                    taskFirst
                    ? empty.serve(echo).childHandlers { [RecordingHandler(log)] }
                    : empty.childHandlers { [RecordingHandler(log)] }.serve(echo)
                let server = try await bootstrap.bind(to: place.freshAddress())
                let client = ClientBootstrap(group: group)
                let connection = try await client.handlers { [RecordingHandler()] }.open(server.localAddress)
                try await connection.send(Buffer("hello"))
                let echoed = Watched<[UInt8]>([])
                Task { for try await piece in connection.inbound { echoed.update { $0 += [UInt8](piece) } } }
                try await echoed.wait(for: "the echo") { $0 == Array("hello".utf8) }
                #expect(log.value.text == "hello")
                await connection.close()
            }
        }

        @Test(arguments: Engine.allCases) func whatIsGivenTwiceToAServerIsRefused(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let empty = ServerBootstrap(group: group)
                let once = empty.childHandlers { [EchoHandler()] }
                try await expectConflict("childHandlers", once.childHandlers { [] })
                try await expectConflict("childHandlers", once.childHandlers { [] }.childHandlers { [] })
                try await expectConflict("serve", empty.serve(echo).serve(echo))
                try await expectConflict("serve", once.serve(echo).serve(echo))
                try await expectConflict("onAcceptError", once.onAcceptError { _ in }.onAcceptError { _ in })
                // A value: what it was made from is as good as before. Of options the last counts.
                let options = once.childOptions(.noDelay(true)).childOptions(.noDelay(false)).backlog(5).backlog(6)
                try await options.bind(host: "127.0.0.1", port: 0).close()
            }
        }

        @Test(arguments: Engine.allCases) func whatIsGivenTwiceToAClientIsRefused(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let server = try await ServerBootstrap(group: group).childHandlers { [EchoHandler()] }
                    .bind(host: "127.0.0.1", port: 0)
                let (address, port) = (server.localAddress, server.localAddress.port)
                let once = ClientBootstrap(group: group).handlers { [EchoHandler()] }
                let twice = once.handlers { [] }
                for connect in [
                    { _ = try await twice.connect(to: address) },
                    { _ = try await twice.connect(host: "127.0.0.1", port: port) },
                    { _ = try await twice.connect(host: "no such name", port: port) },
                    { _ = try await twice.open(address) },
                    { _ = try await twice.open(host: "127.0.0.1", port: port) },
                ] as [@Sendable () async throws -> Void] {
                    let error = await expectError(.conflictingConfiguration, .none) { try await connect() }
                    #expect(error?.subject == "handlers")
                }
                try await once.connectTimeout(.zero).connectTimeout(.seconds(30)).open(address).close()
            }
        }

        private func expectConflict(
            _ call: String, _ bootstrap: ServerBootstrap, sourceLocation: SourceLocation = #_sourceLocation
        ) async throws {
            for _ in 0..<2 {
                let error = await expectError(.conflictingConfiguration, .none, sourceLocation: sourceLocation) {
                    try await bootstrap.bind(host: "no such name", port: 0)
                }
                let text = error?.description ?? ""
                #expect(error?.subject == call, sourceLocation: sourceLocation)
                #expect(text.hasPrefix("\(call): ") && text.contains("once"), sourceLocation: sourceLocation)
            }
            await expectError(.conflictingConfiguration, .none, sourceLocation: sourceLocation) {
                try await bootstrap.bind(to: SocketAddress(host: "127.0.0.1", port: 0))
            }
        }
    }
}

private let echo: @Sendable (Connection) async throws -> Void = { connection in
    for try await bytes in connection.inbound { try await connection.send(bytes) }
}
