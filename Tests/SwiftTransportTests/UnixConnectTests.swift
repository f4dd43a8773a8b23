import CTransport
import Foundation
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// A Unix listener whose backlog is full: who connects waits for room, in the loop and not in the kernel.
    struct UnixConnectTests {
        /// A listener that accepts when the test does, with a full backlog.
        private final class Full: Sendable {
            let listener: RawSocket
            let address: SocketAddress
            private let filling: RawSocket

            init(_ engine: Engine) throws {
                listener = try RawSocket.listen(
                    on: Place(engine: engine, network: .unix).freshAddress(), backlog: 0)
                address = try listener.localAddress
                filling = try RawSocket.connect(to: address)
            }
        }

        @Test(arguments: Engine.allCases) func aFullBacklogMakesAConnectWait(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let full = try Full(engine)
                let connected = Watched<[Channel?]>([])
                Task {
                    let channel = try? await ClientBootstrap(group: group).connect(to: full.address)
                    connected.update { $0.append(channel) }
                }
                try await eventually("it to wait, not only once") { try await Self.waiting(group) == 1 }
                #expect(connected.value.isEmpty)
                _ = try await blocking { try full.listener.accept() }
                let channel = try #require(try await connected.wait(for: "the connect") { !$0.isEmpty }[0])
                #expect(try await Self.waiting(group) == 0)
                // A connection like any other, whose socket blocks as all of ours do.
                let peer = try await blocking { try full.listener.accept() }
                try await channel.send(Buffer(Pattern(seed: 3).bytes(at: 0, count: 60_000)))
                let received = try await blocking { try peer.read(60_000) }
                #expect(received.withUnsafeBytes { Pattern(seed: 3).matches($0, at: 0) })
                let flags = try await group.turn { channel.slot.map { fcntl($0.pointee.fd, F_GETFL) } ?? -1 }
                #expect(flags >= 0 && flags & O_NONBLOCK == 0)
                channel.close()
                peer.close()
            }
        }

        /// Each ends at its limit, and says what it waited for.
        @Test(arguments: Engine.allCases) func theTimeLimitHolds(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let full = try Full(engine)
                await expectError(.timedOut, .connect, EAGAIN, about: full.address.description) {
                    try await ClientBootstrap(group: group).connectTimeout(.milliseconds(30)).connect(to: full.address)
                }
                #expect(await group.loops[0].statistics()?.armedTimers == LoopEnd.timers)
            }
        }

        @Test(arguments: Engine.allCases) func aShutdownEndsAWaitingConnect(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let full = try Full(engine)
                let failure = Task {
                    await expectError(.loopShutDown, .connect, 0, about: full.address.description) {
                        try await ClientBootstrap(group: group).connect(to: full.address)
                    }
                }
                try await eventually("it to wait") { try await Self.waiting(group) == 1 }
                await group.shutdown(within: .seconds(600))
                _ = await failure.value
            }
        }

        @Test(arguments: Engine.allCases) func aCancelledTaskEndsItsConnect(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let full = try Full(engine)
                let failure = Task {
                    await expectError(.cancelled, .connect, 0, about: full.address.description) {
                        try await ClientBootstrap(group: group).connect(to: full.address)
                    }
                }
                try await eventually("it to wait") { try await Self.waiting(group) == 1 }
                failure.cancel()
                _ = await failure.value
                #expect(try await Self.waiting(group) == 0)
            }
        }

        /// Hundreds that wait are hundreds of timers, and not hundreds of threads of the kernel in this process.
        @Test(arguments: Engine.allCases) func hundredsThatWaitTakeNoThreads(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let full = try Full(engine)
                let tasks = (0..<300).map { _ in
                    Task { try await ClientBootstrap(group: group).connect(to: full.address) }
                }
                try await eventually("all to wait") { try await Self.waiting(group) == 300 }
                await group.settle()
                // io_uring's workers are threads of the process that entered.
                let workers = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").filter {
                    let name = try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8)
                    return name?.hasPrefix("iou-wrk") == true
                }
                #expect(workers.count < 10)
                for task in tasks { task.cancel() }
                for task in tasks { await #expect(throws: TransportError.self) { try await task.value } }
            }
        }

        private static func waiting(_ group: EventLoopGroup) async throws -> Int {
            try await group.turn { group.loops[0].own.attempts.count }
        }
    }
}
