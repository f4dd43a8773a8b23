import Glibc
import SwiftTransport
import Testing

extension Scenarios {
    /// The two signals that ask a process to stop. Each in a process of its own, because they are the whole process's.
    struct StopSignalTests {
        /// Awaited before it comes, and asked for afterwards; the process goes on.
        @Test func aSignalIsSeenAwaitedOrLater() async {
            await #expect(processExitsWith: .success) {
                await inChild {
                    let stop = try StopSignal()
                    let another = try StopSignal()
                    async let first = stop.received()
                    async let second = stop.received()
                    kill(getpid(), SIGTERM)
                    #expect(await first == .terminate)
                    #expect(await second == .terminate)
                    #expect(await stop.received() == .terminate)
                    #expect(await another.received() == .terminate)
                }
            }
        }

        /// Who begins later waits for the next one: a second Ctrl-C.
        @Test func aLaterOneWaitsForTheNextSignal() async {
            await #expect(processExitsWith: .success) {
                await inChild {
                    let first = try StopSignal()
                    kill(getpid(), SIGTERM)
                    await first.received()
                    let second = try StopSignal()
                    let answer = Watched<[StopSignal.Kind?]>([])
                    Task {
                        let kind = await second.received()
                        answer.update { $0.append(kind) }
                    }
                    kill(getpid(), SIGINT)
                    try await answer.wait(for: "the second signal") { !$0.isEmpty }
                    #expect(answer.value == [.interrupt])
                    #expect(await first.received() == .terminate)
                }
            }
        }

        /// A task that is cancelled waits no longer, whether it waited already or not; the others do.
        @Test func aCancelledWaitEnds() async {
            await #expect(processExitsWith: .success) {
                await inChild {
                    let stop = try StopSignal()
                    for _ in 0..<100 {
                        let task = Task { await stop.received() }
                        task.cancel()
                        #expect(await task.value == nil)
                    }
                    async let other = stop.received()
                    kill(getpid(), SIGINT)
                    #expect(await other == .interrupt)
                }
            }
        }

        /// Without one the signals do what they always did.
        @Test func nothingIsTakenOverUnasked() async {
            await #expect(processExitsWith: .signal(SIGTERM)) {
                await inChild {
                    let group = try EventLoopGroup(loops: 1)
                    kill(getpid(), SIGTERM)
                    await group.shutdown()
                }
            }
        }
    }
}
