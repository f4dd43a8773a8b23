import CKernelFaults
import Glibc
import Synchronization
import Testing

@testable import SwiftTransport

extension Scenarios {
    struct BindTests {
        /// A server of several loops tries whether its port is free before it shares it between them. The trial does not
        /// listen: a client that got in there was reset with it.
        @Test(arguments: Engine.allCases, [1, 3]) func nothingListensButTheLoops(_ engine: Engine, _ loops: Int)
            async throws
        {
            try await withGroup(engine, loops: loops) { group in
                // A port of the kernel's choice that is free again.
                let port = try RawSocket.bound(to: SocketAddress(host: "127.0.0.1", port: 0)).localAddress.port
                let before = listens_on(port)
                let bootstrap = ServerBootstrap(group: group).childHandlers { [EchoHandler()] }
                let server = try await bootstrap.bind(host: "127.0.0.1", port: port)
                #expect(listens_on(port) - before == UInt32(loops))
                // And it still sees that the port is taken.
                await expectError(.addressInUse, .bind, EADDRINUSE) {
                    try await bootstrap.bind(host: "127.0.0.1", port: port)
                }
                #expect(listens_on(port) - before == UInt32(loops))
                server.close()
            }
        }

        private final class Freed: Sendable {
            private let server = Mutex<Weak?>(nil)
            private struct Weak { weak var server: ServerChannel? }
            func watch(_ server: ServerChannel) { self.server.withLock { $0 = Weak(server: server) } }
            var isFreed: Bool { server.withLock { $0 != nil && $0?.server == nil } }
        }

        /// The group ends between the start of a listener and the moment in which the task that binds goes on: the listener is
        /// closed before the server gets to know it, and nobody holds the other.
        @Test(arguments: Engine.allCases) func aGroupThatEndsWhileATaskBindsLeavesNothing(_ engine: Engine) async throws
        {
            let freed = Freed()
            let elsewhere = try EventLoopGroup(loops: 1)
            let other = elsewhere.loops[0]
            try await withGroup(engine, loops: 1) { group in
                let gate = await WritePath.Gate(group.loops[0])
                let binding = Task(executorPreference: other.taskExecutor) {
                    // When it gets nowhere the server was never handed out.
                    if let server = try? await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0) {
                        freed.watch(server)
                    }
                }
                // The task has asked the loop, and waits: so says the next work behind it.
                for _ in 0..<3 { await other.run {} }
                let otherGate = await WritePath.Gate(other)
                gate.open()
                await group.shutdown(within: .zero)
                otherGate.open()
                await binding.value
                try await eventually("the server is freed") { freed.isFreed }
            }
            await elsewhere.shutdown(within: .zero)
        }
    }
}
