import Foundation
import Glibc
import SwiftTransport
import Testing

extension Scenarios {
    /// io_uring forbidden by a seccomp filter, as Docker's default profile does it. In a process of its own, because
    /// there is no way back and the probe looks only once.
    struct EngineUnavailableTests {
        @Test func automaticFallsBackToEpollAndWorks() async {
            await #expect(processExitsWith: .success) {
                await inChild {
                    Seccomp.forbidURing()
                    unsetenv("SWIFT_TRANSPORT_ENGINE")
                    let group = try EventLoopGroup(loops: 2)
                    #expect(group.loops.map(\.engine) == [.epoll, .epoll])
                    #expect(!Engine.uring.isAvailable)
                    #expect(Engine.report.contains("epoll"))
                    #expect(Engine.report.contains("seccomp"))
                    #expect(group.report == "2 loops on epoll; \(Engine.report)")
                    let server = try await ServerBootstrap(group: group).childHandlers { [EchoHandler()] }
                        .bind(host: "127.0.0.1", port: 0)
                    let correct = try await blocking {
                        let peers = try (0..<4).map { _ in try RawSocket.connect(to: server.localAddress) }
                        return try RawSocket.exchange(
                            Pattern(seed: 9).bytes(at: 0, count: 40_000), count: 20, with: peers)
                    }
                    #expect(correct)
                    let report = await group.shutdown()
                    #expect(report.isComplete)
                }
            }
        }

        @Test(arguments: [EPERM, ENOSYS]) func askingForURingNamesCauseAndRemedy(_ number: Int32) async {
            await #expect(processExitsWith: .success) { [number = number as Int32] in
                await inChild {
                    Seccomp.forbidURing(error: number)
                    var options = LoopOptions()
                    options.engine = .only(.uring)
                    let error = await expectError(.engineUnavailable, .ioUringSetup, number) {
                        try EventLoopGroup(options: options)
                    }
                    let text = error?.description ?? ""
                    #expect(text.contains(".epoll"))
                    #expect(text.contains("io_uring_setup"))
                    if number == EPERM {
                        #expect(text.contains("seccomp"))
                        #expect(text.contains("kernel.io_uring_disabled"))
                    }
                    #expect(Engine.uring.failure == error)
                }
            }
        }

        /// Memory for the probe's small ring but not for those of the loops. All of them get epoll then, and the
        /// group says why; who asks for io_uring is told what to raise.
        @Test(.enabled(if: Engine.uring.isAvailable)) func tooLittleLockedMemoryMeansEpoll() async {
            await #expect(processExitsWith: .success) {
                await inChild {
                    try LockedMemory.limit(to: 512 * 1024)
                    unsetenv("SWIFT_TRANSPORT_ENGINE")
                    #expect(Engine.uring.isAvailable)
                    var options = LoopOptions()
                    options.engine = .only(.uring)
                    let error = await expectError(.outOfMemory, .ioUringSetup, ENOMEM) {
                        try EventLoopGroup(loops: 3, options: options)
                    }
                    #expect(error?.description.contains("ulimit -l") == true)
                    let group = try EventLoopGroup(loops: 3)
                    #expect(group.loops.map(\.engine) == [.epoll, .epoll, .epoll])
                    #expect(group.engineFallback == error)
                    for report in [group.report, Engine.report] {
                        #expect(report.contains("epoll") && report.contains("ulimit -l"), "\(report)")
                    }
                    #expect(group.report.hasPrefix("3 loops on epoll, because "))
                    let server = try await ServerBootstrap(group: group).childHandlers { [EchoHandler()] }
                        .bind(host: "127.0.0.1", port: 0)
                    let correct = try await blocking {
                        try RawSocket.exchange(
                            Pattern(seed: 9).bytes(at: 0, count: 40_000), count: 20,
                            with: [RawSocket.connect(to: server.localAddress)])
                    }
                    #expect(correct)
                    await group.shutdown()
                }
            }
        }

        /// Memory for some of the loops, but not for all: those that had started end again.
        @Test(.enabled(if: Engine.uring.isAvailable)) func noLoopIsLeftRunning() async {
            await #expect(processExitsWith: .success) {
                await inChild {
                    try LockedMemory.limit(to: 4 << 20)
                    var options = LoopOptions()
                    options.engine = .only(.uring)
                    await expectError(.outOfMemory, .ioUringSetup, ENOMEM) {
                        try EventLoopGroup(loops: 1000, options: options)
                    }
                    try await eventually("the threads to end") {
                        let tasks = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")
                        let names = tasks.map {
                            try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8)
                        }
                        return !names.contains { $0?.hasPrefix("transport-") == true }
                    }
                }
            }
        }

        /// The environment variable decides for `.automatic`, and only for it.
        @Test func theEnvironmentChoosesTheEngine() async {
            await #expect(processExitsWith: .success) {
                await inChild {
                    setenv("SWIFT_TRANSPORT_ENGINE", "epoll", 1)
                    let group = try EventLoopGroup(loops: 1)
                    #expect(group.loops[0].engine == .epoll)
                    #expect(group.report == "1 loop on epoll, as asked for; \(Engine.report)")
                    await group.shutdown()
                    setenv("SWIFT_TRANSPORT_ENGINE", "uring", 1)
                    if Engine.uring.isAvailable {
                        let group = try EventLoopGroup(loops: 1)
                        #expect(group.loops[0].engine == .uring)
                        await group.shutdown()
                        setenv("SWIFT_TRANSPORT_ENGINE", "epoll", 1)
                        try await withGroup(.uring) { #expect($0.loops[0].engine == .uring) }
                    } else {
                        #expect(throws: TransportError.self) { try EventLoopGroup(loops: 1) }
                    }
                }
            }
        }
    }
}
