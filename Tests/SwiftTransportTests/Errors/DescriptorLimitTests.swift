import Glibc
import SwiftTransport
import Testing

extension Scenarios {
    /// EMFILE on accept ends nothing. Accepting pauses, live connections go on, and
    /// who waits is served when a slot frees. In a process of its own, because the limit is the process's.
    struct DescriptorLimitTests {
        @Test(arguments: Engine.allCases) func acceptPausesAndGoesOn(_ engine: Engine) async throws {
            try engine.require()
            await #expect(processExitsWith: .success) { [engine = engine.rawValue as String] in
                await inChild(on: engine) { group in
                    let errors = Watched<[TransportError]>([])
                    let accepted = Accepted([])
                    // The clients' sockets are this process's too, so they are there before the limit. The listener is not:
                    // io_uring keeps the limit there was when the accept began.
                    let clients = try (0..<6).map { _ in try RawSocket.unconnected() }
                    try await Descriptors.leave(3)
                    let server = try await ServerBootstrap(group: group)
                        .childHandlers { [EchoHandler(), Announcer(accepted)] }
                        .onAcceptError { error in errors.update { $0.append(error) } }
                        .bind(host: "127.0.0.1", port: 0)
                    try await blocking { for client in clients { try client.connect(to: server.localAddress) } }

                    // Two are served, the others wait in the backlog.
                    let first = try await errors.wait(for: "the limit") { !$0.isEmpty }
                    #expect(first[0].code == .descriptorLimit)
                    #expect(first[0].call == .accept)
                    #expect(first[0].errno == EMFILE)
                    #expect(first[0].subject == server.localAddress.description)
                    expectHelpful(first[0])
                    try await accepted.wait(for: "the two there is room for") { $0.count == 2 }
                    #expect(try await echo(through: clients[0...1]) == 2)
                    #expect(accepted.value.count == 2)

                    // A slot frees: the next one is served, and only that one.
                    accepted.value[0].close(.immediate)
                    try await accepted.wait(for: "the third") { $0.count == 3 }
                    #expect(try await echo(through: clients[1...2]) == 2)

                    // Everybody gets on as soon as there is room.
                    Descriptors.restore()
                    try await accepted.wait(for: "all of them") { $0.count == 6 }
                    #expect(try await echo(through: clients[1...]) == 5)
                    // It paused: trying again and again would have failed thousands of times.
                    #expect(errors.value.count < 50)
                }
            }
        }

        @Test(arguments: Engine.allCases) func connectSaysSoAndWorksAgain(_ engine: Engine) async throws {
            try engine.require()
            await #expect(processExitsWith: .success) { [engine = engine.rawValue as String] in
                await inChild(on: engine) { group in
                    let listener = try RawSocket.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
                    let address = try listener.localAddress
                    let client = ClientBootstrap(group: group)
                    let live = try await client.connect(to: address)
                    try await Descriptors.leave(0)
                    await expectError(.descriptorLimit, .socket, EMFILE) { try await client.connect(to: address) }
                    #expect(live.isActive)
                    // The slot it frees is the slot the next one gets.
                    live.close(.immediate)
                    await live.closed()
                    let next = try await client.connect(to: address)
                    #expect(next.isActive)
                }
            }
        }

        /// Nothing of a loop that cannot be made is left on the heap either, however often it is tried.
        @Test func aGroupThatCannotBeMadeLeavesNothing() async throws {
            await #expect(processExitsWith: .success) {
                await inChild {
                    var options = LoopOptions()
                    options.engine = .only(.epoll)
                    try await Descriptors.leave(0)
                    func fail(_ times: Int) {
                        for _ in 0..<times {
                            #expect(throws: TransportError.self) { try EventLoopGroup(loops: 1, options: options) }
                        }
                    }
                    // What is made once is made here.
                    fail(100)
                    let before = Books.heapBytes
                    fail(1000)
                    // The smallest thing a loop has beside the core's would be a kibibyte each time.
                    #expect(Books.heapBytes - before < 500_000)
                    Descriptors.restore()
                }
            }
        }

        @Test(arguments: Engine.allCases, 0..<4) func aGroupSaysSo(_ engine: Engine, _ room: Int) async throws {
            try engine.require()
            await #expect(processExitsWith: .success) { [engine = engine.rawValue as String, room = room as Int] in
                await inChild {
                    // The probe has descriptors enough; the group has not.
                    let engine = try #require(Engine(rawValue: engine))
                    try engine.require()
                    var options = LoopOptions()
                    options.engine = .only(engine)
                    try await Descriptors.leave(room)
                    do throws(TransportError) {
                        let group = try EventLoopGroup(loops: 3, options: options)
                        Issue.record("\(group.loops.count) loops with \(room) descriptors")
                    } catch {
                        #expect(error.code == .descriptorLimit)
                        #expect(error.errno == EMFILE)
                        expectHelpful(error)
                    }
                    Descriptors.restore()
                    // What was begun was taken down: a group can be made now.
                    try await withGroup(engine, loops: 3) { _ in }
                }
            }
        }
    }
}

/// How many of the clients get their own words back.
private func echo(through clients: ArraySlice<RawSocket>) async throws -> Int {
    try await blocking {
        var right = 0
        for (index, client) in clients.enumerated() {
            try client.write("client \(index)")
            if String(decoding: try client.read(8), as: UTF8.self) == "client \(index)" { right += 1 }
        }
        return right
    }
}
