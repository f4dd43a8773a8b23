import SwiftTransport
import Testing

extension Scenarios {
    /// State of a loop travels in a wrapper, is used on its loop alone, and freed there.
    struct LoopBoundTests {
        /// What no lock protects is counted by many tasks, each on its way over the loop.
        @Test(arguments: Engine.allCases) func aValueIsUsedOnItsLoop(_ engine: Engine) async throws {
            try await withGroup(engine, loops: 2) { group in
                let loop = group.loops[1]
                let tally = LoopBound(Tally(), on: loop)
                await withTaskGroup { tasks in
                    for number in 0..<200 {
                        tasks.addTask {
                            _ = await loop.run { tally.withValue { $0.numbers.append(number) } }
                        }
                    }
                }
                #expect(await loop.run { tally.withValue { $0.numbers.sorted() } } == Array(0..<200))
            }
        }

        /// A handler hands itself to a thread of somebody else's, which brings it back.
        @Test(arguments: Place.all) func aValueBringsAHandlerBackToItsLoop(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let found = Watched<[Bool]>([])
                let (channel, peer) = try await group.connection(place) { [Asking(found)] }
                #expect(try await found.wait(for: "the answer") { $0.count == 1 } == [true])
                peer.close()
                await channel.closed()
            }
        }

        /// Wherever the last one lets go, it is the loop that frees.
        @Test(arguments: Engine.allCases) func aValueIsFreedOnItsLoop(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let freed = Watched<[Bool]>([])
                let loop = group.loops[0]
                do { _ = LoopBound(Freed(loop, freed), on: loop) }
                #expect(try await freed.wait(for: "the value's end") { $0.count == 1 } == [true])
                _ = await loop.run { _ = LoopBound(Freed(loop, freed), on: loop) }
                #expect(freed.value == [true, true])
                for _ in 0..<100 {
                    let bound = LoopBound(Freed(loop, freed), on: loop)
                    async let here: Void = { withExtendedLifetime(bound) {} }()
                    loop.execute { withExtendedLifetime(bound) {} }
                    await here
                }
                let all = try await freed.wait(for: "all of them") { $0.count == 102 }
                #expect(!all.contains(false))
            }
        }

        /// A value that outlives its loop is freed all the same.
        @Test(arguments: Engine.allCases) func aValueIsFreedWhenItsLoopHasEnded(_ engine: Engine) async throws {
            let freed = Watched<[Bool]>([])
            var bound: LoopBound<Freed>?
            try await withGroup(engine) { group in
                bound = LoopBound(Freed(group.loops[0], freed), on: group.loops[0])
            }
            #expect(freed.value == [])
            withExtendedLifetime(bound) {}
            bound = nil
            try await freed.wait(for: "the value's end") { $0.count == 1 }
        }
    }
}

private final class Tally { var numbers: [Int] = [] }

private final class Asking: ChannelHandler {
    static let interests: ChannelEvents = [.active]
    private let found: Watched<[Bool]>
    init(_ found: Watched<[Bool]>) { self.found = found }

    func channelActive(_ context: ChannelContext) {
        let me = LoopBound(self, in: context)
        context.fireChannelActive()
        Task.detached { me.eventLoop.execute { me.withValue { $0.answered(by: me.eventLoop) } } }
    }

    private func answered(by loop: EventLoop) { found.update { $0.append(loop.isCurrent) } }
}

private final class Freed {
    private let loop: EventLoop
    private let freed: Watched<[Bool]>
    init(_ loop: EventLoop, _ freed: Watched<[Bool]>) {
        self.loop = loop
        self.freed = freed
    }
    deinit {
        let isOnLoop = loop.isCurrent
        freed.update { $0.append(isOnLoop) }
    }
}
