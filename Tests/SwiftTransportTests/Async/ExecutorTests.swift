import SwiftTransport
import Testing

extension Scenarios {
    /// Tasks and actors on a loop never leave its thread.
    struct ExecutorTests {
        /// Before and after each await: the same thread.
        @Test(arguments: Place.all) func aTaskStaysOnItsLoop(_ place: Place) async throws {
            try await withGroup(place.engine, loops: 3) { group in
                let strays = Watched<[String]>([])
                let done = Watched(0)
                let server = try await ServerBootstrap(group: group).serve { connection in
                    let loop = connection.channel.eventLoop
                    @Sendable func check(_ place: String) {
                        if EventLoop.current !== loop { strays.update { $0.append(place) } }
                    }
                    check("start")
                    for try await bytes in connection.inbound {
                        check("read")
                        try await connection.send(bytes)
                        check("write")
                        await Task.yield()
                        check("yield")
                        // The peer may be gone by now, and the task cancelled.
                        try? await Task.sleep(for: .microseconds(1))
                        check("sleep")
                        async let child: Void = check("child")
                        await child
                        check("after child")
                        _ = await loop.run { check("run") }
                        check("after run")
                        _ = await group.next().run { 1 }
                        check("after another loop's run")
                    }
                    check("end")
                    done.update { $0 += 1 }
                }.bind(to: place.freshAddress())
                try await blocking {
                    for _ in 0..<6 {
                        let peer = try RawSocket.connect(to: server.localAddress)
                        guard try RawSocket.exchange([1, 2, 3], count: 5, with: [peer]) else {
                            throw CancellationError()
                        }
                        peer.close()
                    }
                }
                try await done.wait(for: "all tasks") { $0 == 6 }
                #expect(strays.value == [])
            }
        }

        @Test(arguments: Engine.allCases) func anActorRunsOnItsLoop(_ engine: Engine) async throws {
            try await withGroup(engine, loops: 2) { group in
                let loop = group.loops[1]
                let actor = LoopActor(loop)
                await withTaskGroup { tasks in
                    for _ in 0..<100 { tasks.addTask { await actor.count() } }
                }
                let seen = await actor.seen
                #expect(seen.calls == 100)
                #expect(seen.strays == 0)
                // From a handler, without an await: it is the same isolation.
                let direct = try #require(await loop.run { actor.assumeIsolated { $0.seen.calls } })
                #expect(direct == 100)
            }
        }

        /// Whoever holds the executor may outlive the group.
        @Test(arguments: Engine.allCases) func aTaskMayOutliveItsGroup(_ engine: Engine) async throws {
            let gate = Watched(false)
            let done = Watched<[EventLoop?]>([])
            try await withGroup(engine) { group in
                Task(executorPreference: group.loops[0].taskExecutor) {
                    _ = try? await gate.wait(for: "the gate") { $0 }
                    await Task.yield()
                    done.update { $0.append(EventLoop.current) }
                }
                await group.settle()
            }
            gate.update { $0 = true }
            try await done.wait(for: "the task") { $0.count == 1 }
            #expect(done.value[0] == nil)
        }

        /// A job must run, or its task would hang for ever: also when its loop has ended.
        @Test(arguments: Engine.allCases) func jobsRunAfterTheLoopHasEnded(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let loop = group.loops[0]
                let gate = Watched(false)
                let done = Watched<[Int]>([])
                // One that waits while the loop ends, and some that begin only then.
                Task(executorPreference: loop.taskExecutor) {
                    _ = try? await gate.wait(for: "the gate") { $0 }
                    done.update { $0.append(0) }
                }
                let actor = LoopActor(loop)
                await actor.count()
                await group.shutdown()
                gate.update { $0 = true }
                for number in 1...20 {
                    Task(executorPreference: loop.taskExecutor) {
                        await Task.yield()
                        done.update { $0.append(number) }
                    }
                }
                let all = try await done.wait(for: "all tasks") { $0.count == 21 }
                #expect(Set(all) == Set(0...20))
                await actor.count()
                #expect(await actor.seen.calls == 2)
            }
        }

        /// Many jobs at the moment the loop ends: each runs once.
        @Test(arguments: Engine.allCases) func jobsRunWhileTheLoopEnds(_ engine: Engine) async throws {
            for _ in 0..<10 {
                try await withGroup(engine) { group in
                    let loop = group.loops[0]
                    let done = Watched(0)
                    for _ in 0..<200 {
                        Task(executorPreference: loop.taskExecutor) {
                            await Task.yield()
                            await Task.yield()
                            done.update { $0 += 1 }
                        }
                    }
                    await group.shutdown()
                    try await done.wait(for: "all tasks") { $0 == 200 }
                }
            }
        }
    }
}

private actor LoopActor {
    private let loop: EventLoop
    private(set) var seen = (calls: 0, strays: 0)
    init(_ loop: EventLoop) { self.loop = loop }

    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    func count() {
        seen.calls += 1
        if !loop.isCurrent { seen.strays += EventLoop.current == nil && seen.calls > 100 ? 0 : 1 }
    }
}
