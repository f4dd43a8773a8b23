import CKernelFaults
import Glibc
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
    }
}
