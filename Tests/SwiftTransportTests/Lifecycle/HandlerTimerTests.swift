import SwiftTransport
import Testing

extension Scenarios {
    /// What a handler leaves for later is called with its context, on its loop, and not when it has left the pipeline.
    struct HandlerTimerTests {
        @Test(arguments: Place.all) func timersAreCalledInTheOrderOfTheirDeadlines(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(place) {
                    [
                        Scheduling(log) { handler, context in
                            context.schedule(after: .milliseconds(20)) { handler.note("late", $0) }
                            context.schedule(after: .milliseconds(1)) { handler.note("early", $0) }
                            context.schedule(after: .zero) { handler.note("at once", $0) }
                            context.execute { handler.note("soon", $0) }
                            handler.note("now", context)
                        }
                    ]
                }
                let seen = try await log.wait(for: "all of them") { $0.events.count == 5 }
                #expect(seen.events.first == .note("now"))
                #expect(
                    seen.events.filter { $0 != .note("soon") } == ["now", "at once", "early", "late"].map { .note($0) })
                #expect(seen.events.contains(.note("soon")))
                peer.close()
                await channel.closed()
            }
        }

        /// Each is called or taken back, whichever of several it is, and never both.
        @Test(arguments: Engine.allCases, 0..<3) func aTimerCanBeTakenBack(_ engine: Engine, _ which: Int) async throws
        {
            try await withGroup(engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .tcp)) {
                    [
                        Scheduling(log) { handler, context in
                            let timers = (0..<3).map { number in
                                context.schedule(after: .milliseconds(1 + number)) { handler.note("\(number)", $0) }
                            }
                            handler.note("first \(timers[which].cancel())", context)
                            handler.note("again \(timers[which].cancel())", context)
                            context.schedule(after: .milliseconds(10)) { context in
                                handler.note("behind \(timers.contains { $0.cancel() })", context)
                            }
                        }
                    ]
                }
                let seen = try await log.wait(for: "the last of them") { $0.events.contains(.note("behind false")) }
                let others = (0..<3).filter { $0 != which }.map { "\($0)" }
                #expect(seen.events == (["first true", "again false"] + others + ["behind false"]).map { .note($0) })
                #expect(await group.loops[0].statistics()?.armedTimers == LoopEnd.timers)
                peer.close()
                await channel.closed()
            }
        }

        enum Leaving: CaseIterable, Sendable { case removal, close }

        /// A handler that has left is not called, and keeps nothing alive: not at its deadline, at once.
        @Test(arguments: Place.all, Leaving.allCases) func aTimerGoesWithItsHandler(_ place: Place, _ leaving: Leaving)
            async throws
        {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let held = Watched(0)
                let (channel, peer) = try await group.connection(place) {
                    [
                        Scheduling(log) { handler, context in
                            let token = Token(held)
                            context.schedule(after: .milliseconds(1)) { handler.note("called", $0, token) }
                            context.schedule(after: .seconds(3600)) { handler.note("called", $0, token) }
                            context.execute { handler.note("executed", $0) }
                            switch leaving {
                            case .removal: context.channel.pipeline.remove(context)
                            case .close: context.close(.immediate)
                            }
                            context.schedule(after: .seconds(3600)) { handler.note("called", $0, token) }
                        }
                    ]
                }
                try await held.wait(for: "what the closures hold") { $0 == 0 }
                if leaving == .removal {
                    // Longer than the first would have waited.
                    let later = Watched(false)
                    group.loops[0].schedule(after: .milliseconds(5)) { later.update { $0 = true } }
                    try await later.wait(for: "a later timer") { $0 }
                    #expect(log.value.events == [])
                }
                #expect(!log.value.events.contains(.note("called")))
                #expect(await group.loops[0].statistics()?.armedTimers ?? 0 <= LoopEnd.timers + 1)
                peer.close()
                await channel.closed()
            }
        }

        /// A handler that has left gets neither a timer nor a turn.
        @Test(arguments: Engine.allCases) func aTimerIsRefusedToWhoHasLeft(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .tcp)) {
                    [
                        Scheduling(log) { handler, context in
                            context.channel.pipeline.remove(context)
                            let timer = context.schedule(after: .zero) { handler.note("called", $0) }
                            let executes = context.execute { handler.note("executed", $0) }
                            handler.note("\(timer.cancel()) \(executes)", context)
                        }
                    ]
                }
                await group.settle()
                await group.settle()
                #expect(log.value.events == [.note("false false")])
                peer.close()
                await channel.closed()
            }
        }
    }
}

/// Does something when its channel is active.
private final class Scheduling: ChannelHandler {
    static let interests: ChannelEvents = [.active]
    private let log: Watched<Recording>
    private let body: (Scheduling, ChannelContext) -> Void

    init(_ log: Watched<Recording>, _ body: @escaping (Scheduling, ChannelContext) -> Void) {
        self.log = log
        self.body = body
    }

    func channelActive(_ context: ChannelContext) {
        body(self, context)
        context.fireChannelActive()
    }

    func note(_ text: String, _ context: ChannelContext, _ held: Token? = nil) {
        #expect(context.handler === self && context.eventLoop.isCurrent)
        log.update { $0.events.append(.note(text)) }
    }
}

/// Counts itself.
private final class Token: Sendable {
    private let count: Watched<Int>
    init(_ count: Watched<Int>) {
        self.count = count
        count.update { $0 += 1 }
    }
    deinit { count.update { $0 -= 1 } }
}
