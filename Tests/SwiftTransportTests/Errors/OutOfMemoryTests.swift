import CTransport
import Glibc
import Synchronization
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// No memory for a timer or a message: whoever counts on it is told or gets it later, and everybody else goes on. In a
    /// process of its own, because the limit is the process's.
    struct OutOfMemoryTests {
        @Test(.enabled(if: AddressSpace.canBeLimited), arguments: Engine.allCases)
        func aTimerThatCannotBeArmedIsTold(_ engine: Engine) async throws {
            try engine.require()
            await #expect(processExitsWith: .success) { [engine = engine.rawValue as String] in
                await inChild(on: engine) { group in
                    let loop = group.loops[0]
                    let listener = try RawSocket.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
                    let address = try listener.localAddress
                    let live = try await ClientBootstrap(group: group).connect(to: address)
                    let peer = try await blocking { try listener.accept() }
                    let wheel = CrowdedWheel(loop)
                    try AddressSpace.leave(256 << 20)
                    try await group.turn { wheel.fill() }
                    try AddressSpace.leave(32 << 20)

                    // A timer of the user's, from the loop and from elsewhere.
                    let told = Watched<[TransportError]>([])
                    let schedule: @Sendable () -> Bool = {
                        let task = loop.schedule(after: .zero) {
                            Issue.record("no memory, and it fires")
                        } otherwise: { error in
                            told.update { $0.append(error) }
                        }
                        return task.eventLoop === loop
                    }
                    #expect(schedule())
                    #expect(try await group.turn { schedule() })
                    try await told.wait(for: "both") {
                        $0 == [TransportError(.outOfMemory), TransportError(.outOfMemory)]
                    }
                    // A task that would sleep.
                    await expectError(.outOfMemory, .none) {
                        try await Task.sleep(for: .seconds(3600), clock: loop.clock)
                    }
                    // The time limit of a connect.
                    await expectError(.outOfMemory, .connect, 0, about: address.description) {
                        try await ClientBootstrap(group: group).connect(to: address)
                    }
                    // A close that waits for the peer has no time to wait.
                    live.close(.graceful)
                    await live.closed()
                    peer.close()

                    AddressSpace.restore()
                    try await group.turn { wheel.empty() }
                    let next = try await ClientBootstrap(group: group).connect(to: address)
                    #expect(next.isActive)
                }
            }
        }

        /// No descriptors and no memory for the timer that would come again later: it comes again all the same, and says so.
        @Test(.enabled(if: AddressSpace.canBeLimited), arguments: Engine.allCases)
        func aListenerThatCannotPauseGoesOn(_ engine: Engine) async throws {
            try engine.require()
            await #expect(processExitsWith: .success) { [engine = engine.rawValue as String] in
                await inChild(on: engine) { group in
                    let errors = Watched<Set<TransportError>>([])
                    let accepted = Accepted([])
                    let clients = try (0..<4).map { _ in try RawSocket.unconnected() }
                    let wheel = CrowdedWheel(group.loops[0])
                    try AddressSpace.leave(256 << 20)
                    try await group.turn { wheel.fill() }
                    try AddressSpace.leave(96 << 20)
                    try await Descriptors.leave(3)
                    let server = try await ServerBootstrap(group: group).childHandlers { [Announcer(accepted)] }
                        .onAcceptError { error in errors.update { $0.insert(error) } }
                        .bind(host: "127.0.0.1", port: 0)
                    try await blocking { for client in clients { try client.connect(to: server.localAddress) } }
                    let address = server.localAddress.description
                    try await errors.wait(for: "both to be told") {
                        $0 == [
                            TransportError(call: .accept, errno: EMFILE, subject: address),
                            TransportError(.outOfMemory, call: .accept, subject: address),
                        ]
                    }
                    #expect(accepted.value.count == 2)
                    Descriptors.restore()
                    try await accepted.wait(for: "all of them") { $0.count == 4 }
                    AddressSpace.restore()
                    try await group.turn { wheel.empty() }
                }
            }
        }

        @Test(.enabled(if: AddressSpace.canBeLimited), arguments: Engine.allCases)
        func whatAMailboxHasNoMemoryForIsToldOrComesLater(_ engine: Engine)
            async throws
        {
            try engine.require()
            await #expect(processExitsWith: .success) { [engine = engine.rawValue as String] in
                await inChild(on: engine) { group in
                    let loop = group.loops[0]
                    let came = Watched<Set<String>>([])
                    let wasTaken = try await group.turn {
                        // Messages of nobody, as many as there is memory for.
                        guard (try? AddressSpace.leave(256 << 20)) != nil else { return true }
                        while ct_mailbox_post_local(loop.core, ct_message()) == 0 {}
                        guard (try? AddressSpace.leave(32 << 20)) != nil else { return true }
                        Task(executorPreference: loop.taskExecutor) { came.update { $0.insert("task") } }
                        Task { await Local(loop).note(came) }
                        loop.post(ClosureWork { _ in came.update { $0.insert("own") } })
                        return loop.execute { Issue.record("refused, and it runs") }
                    }
                    #expect(!wasTaken)
                    try await came.wait(for: "what must arrive") { $0 == ["task", "actor", "own"] }
                    #expect(loop.execute { came.update { $0.insert("later") } })
                    try await came.wait(for: "what comes later") { $0.contains("later") }
                    AddressSpace.restore()
                }
            }
        }

        /// What has no memory is tried again, in its order, until it is delivered; then the next thing is.
        @Test func whatIsUndeliveredIsTriedAgain() async throws {
            let undelivered = Undelivered()
            for round in 1...3 {
                let tries = Watched<[Int]>([])
                for number in 0..<20 {
                    undelivered.keep {
                        tries.update { $0.append(number) }
                        return tries.value.count { $0 == number } == number % 3 + 1
                    }
                }
                let expected = (0..<20).flatMap { Array(repeating: $0, count: $0 % 3 + 1) }
                try await tries.wait(for: "round \(round)") { $0.count >= expected.count }
                #expect(tries.value == expected)
            }
        }
    }
}

/// An actor on a loop.
private actor Local {
    private let loop: EventLoop
    init(_ loop: EventLoop) { self.loop = loop }
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    func note(_ came: Watched<Set<String>>) { came.update { $0.insert("actor") } }
}
