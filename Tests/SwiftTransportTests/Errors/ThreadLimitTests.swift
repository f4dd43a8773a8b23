import CKernelFaults
import Glibc
import SwiftTransport
import Testing

extension Scenarios {
    /// A thread that is not to be had. In a process of its own, because descriptors are counted.
    struct ThreadLimitTests {
        /// Whichever of the threads it is: the loops that have theirs already come to their end.
        @Test(arguments: Engine.allCases, 0..<3) func aGroupSaysSo(_ engine: Engine, _ behind: Int) async throws {
            try engine.require()
            await #expect(processExitsWith: .success) { [engine = engine.rawValue as String, behind = behind as Int] in
                await inChild {
                    let engine = try #require(Engine(rawValue: engine))
                    try engine.require()
                    // What is opened once and for all.
                    try await withGroup(engine, loops: 3) { _ in }
                    let before = Self.openDescriptors
                    var options = LoopOptions()
                    options.engine = .only(engine)
                    // The loops of the first group may still be closing theirs: one descriptor of each attempt would be more.
                    for _ in 0..<12 {
                        do throws(TransportError) {
                            thread_faults_refuse(UInt32(behind), 1)
                            let group = try EventLoopGroup(loops: 3, options: options)
                            Issue.record("\(group.loops.count) loops")
                        } catch {
                            #expect(error.call == .pthreadCreate)
                            #expect(error.errno == EAGAIN)
                            expectHelpful(error)
                        }
                        #expect(thread_faults_left() == 0)
                    }
                    try await eventually("its descriptors to be closed") { Self.openDescriptors <= before }
                    try await withGroup(engine, loops: 3) { _ in }
                }
            }
        }

        /// Nor is there one to look a name up on: that is the answer, and the next time there is.
        @Test func aLookUpSaysSo() async throws {
            await #expect(processExitsWith: .success) {
                await inChild(on: Engine.epoll.rawValue) { group in
                    let server = try await ServerBootstrap(group: group).childHandlers { [] }
                        .bind(host: "127.0.0.1", port: 0)
                    let port = server.localAddress.port
                    try await group.turn { thread_faults_refuse(0, 1) }
                    let client = ClientBootstrap(group: group)
                    await expectError(.system, .pthreadCreate, EAGAIN, about: "localhost:\(port)") {
                        try await client.connect(host: "localhost", port: port)
                    }
                    #expect(try await group.turn { thread_faults_left() } == 0)
                    let channel = try await client.connect(host: "localhost", port: port)
                    #expect(channel.isActive)
                }
            }
        }

        private static var openDescriptors: Int { (0..<1024).count { fcntl($0, F_GETFD) >= 0 } }
    }
}
