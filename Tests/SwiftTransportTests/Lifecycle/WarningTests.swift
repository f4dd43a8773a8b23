#if DEBUG
    import Glibc
    import Testing

    @testable import SwiftTransport

    extension Scenarios {
        /// What debug builds say of programs that work, but hardly as they were meant to: once, and to the point.
        struct WarningTests {
            /// On standard error, once for each kind and place.
            @Test func everyWarningComesOnce() async {
                let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
                    for place in ["here", "there", "here"] { Warnings.give(.neverFlushed, at: place, "\(place)!") }
                    Warnings.give(.blockedLoop, at: "here", "blocked")
                }
                let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
                let lines = text.split(separator: "\n").filter { $0.hasPrefix("SwiftTransport warning: ") }
                #expect(lines.map { $0.dropFirst(24) } == ["here!", "there!", "blocked"])
            }

            // MARK: A loop that is held up

            @Test(arguments: Engine.allCases) func aCallbackThatBlocksTheLoopIsTold(_ engine: Engine) async throws {
                try await withGroup(engine) { group in
                    let (channel, peer) = try await group.connection(Place(engine: engine, network: .unix)) {
                        [Sleeper()]
                    }
                    let loop = channel.eventLoop
                    try await blocking { try peer.write("x") }
                    let text = try await warning(.blockedLoop, "a channel of Sleeper, Announcer")
                    #expect(text.contains("event loop 0") && text.contains(" ms"), "\(text)")
                    loop.execute { holdUp() }
                    try await warning(.blockedLoop, "work given to the loop")
                    loop.schedule(after: .zero) { holdUp() }
                    try await warning(.blockedLoop, "a timer")
                    Task(executorPreference: loop.taskExecutor) { holdUp() }
                    try await warning(.blockedLoop, "a task on the loop")
                    peer.close()
                }
            }

            @discardableResult
            private func warning(_ kind: Warnings.Kind, _ place: String) async throws -> String {
                let found = Watched("")
                try await eventually("a warning of \(place)") {
                    let text = Warnings.take(kind, at: place)
                    found.update { $0 = text ?? "" }
                    return text != nil
                }
                return found.value
            }

            // MARK: Methods that nobody calls

            @Test func methodsOutsideTheInterestsAreTold() throws {
                final class Local: ChannelHandler {
                    static let interests: ChannelEvents = [.read]
                    func channelReadComplete(_ context: ChannelContext) { context.flush() }
                }
                let all = [
                    "channelActive(_:)", "channelRead(_:_:)", "channelReadComplete(_:)",
                    "channelWritabilityChanged(_:)",
                    "inputClosed(_:)", "errorCaught(_:_:)", "userEvent(_:_:)", "shutdownBegan(_:)",
                    "channelInactive(_:)",
                    "write(_:_:promise:)", "write(_:_:promise:) for files", "write(_:message:promise:)", "flush(_:)",
                    "close(_:_:)",
                ]
                #expect(names(Everything.self) == all)
                #expect(names(Local.self) == ["channelReadComplete(_:)"])
                #expect(names(Outer.Inner.self) == ["channelActive(_:)"])
                #expect(names(Generic<Int>.self) == ["channelInactive(_:)"])
                #expect(names(Derived.self) == ["flush(_:)"])
            }

            /// Neither defaults, nor what has the name of a method and other parameters, nor types within a type.
            @Test func methodsWithinTheInterestsAreNotTold() throws {
                #expect(names(Outer.self) == [])
                #expect(names(Base.self) == [])
                #expect(names(Overloading.self) == [])
                #expect(names(EchoHandler.self) == [])
                #expect(names(BackPressureHandler.self) == [])
                #expect(names(InboundBridge.self) == [])
            }

            /// Once for each type, so another one for each engine.
            @Test(arguments: Engine.allCases) func aMethodThatNobodyCallsIsTold(_ engine: Engine) async throws {
                try await withGroup(engine) { group in
                    let (_, peer) = try await group.connection(Place(engine: engine, network: .unix)) {
                        engine == .uring ? [Generic<Int>()] : [Generic<String>()]
                    }
                    let type: any ChannelHandler.Type = engine == .uring ? Generic<Int>.self : Generic<String>.self
                    let text = try await warning(.uncalledMethod, String(reflecting: type))
                    #expect(text.contains("\(type) implements channelInactive(_:), "), "\(text)")
                    #expect(text.contains("leave out .inactive"), "\(text)")
                    peer.close()
                }
            }

            private func names(_ type: any ChannelHandler.Type) -> [String] { UncalledMethods.of(type).map(\.name) }

            // MARK: Writes that nobody flushes

            @Test(arguments: Engine.allCases) func bytesThatAreNeverFlushedAreTold(_ engine: Engine) async throws {
                try await withGroup(engine) { group in
                    let (channel, peer) = try await group.connection(Place(engine: engine, network: .unix)) {
                        [Forgetful()]
                    }
                    try await blocking { try peer.write("x") }
                    let text = try await warning(.neverFlushed, "a channel of Forgetful, Announcer")
                    #expect(text.contains("nothing is sent before flush()"), "\(text)")
                    channel.close(.reset)
                    peer.close()
                }
            }

            /// It need not take a second: a channel that ends with such a write says so too, whoever ends it.
            @Test(arguments: Engine.allCases, [true, false])
            func whatIsUnflushedAtTheEndIsTold(_ engine: Engine, _ byThePeer: Bool) async throws {
                try await withGroup(engine) { group in
                    let (channel, peer) = try await group.connection(Place(engine: engine, network: .unix)) {
                        [Forgetful(), byThePeer ? Outer() : Base()]
                    }
                    try await blocking { try peer.write("x") }
                    try await eventually("the write") { channel.pendingBytes > 0 }
                    try await pass(.milliseconds(150), on: group.loops[0])
                    if byThePeer { peer.close() } else { channel.close(.immediate) }
                    await channel.closed()
                    try await warning(
                        .neverFlushed, "a channel of Forgetful, \(byThePeer ? "Outer" : "Base"), Announcer")
                    peer.close()
                }
            }

            /// Until the loop has seen this much time go by.
            private func pass(_ time: Duration, on loop: EventLoop) async throws {
                let isOver = Watched(false)
                loop.schedule(after: time) { isOver.update { $0 = true } }
                try await isOver.wait(for: "the time to pass") { $0 }
            }

            /// Flushed in the end, taken back, or closed behind the write: nothing of it was forgotten.
            @Test(arguments: Engine.allCases) func nothingWasForgotten(_ engine: Engine) async throws {
                try await withGroup(engine) { group in
                    let place = Place(engine: engine, network: .unix)
                    let (flushed, one) = try await group.connection(place) { [Derived()] }
                    let (cancelled, two) = try await group.connection(place) { [Derived()] }
                    let (closed, three) = try await group.connection(place) { [Derived()] }
                    try await group.turn {
                        flushed.write(Buffer("x"))
                        cancelled.pipeline.withContext(of: Derived.self) { cancelled.cancel($0.write(Buffer("x"))) }
                        closed.write(Buffer("x"))
                        // In the next turn.
                        group.loops[0].execute {
                            flushed.flush()
                            closed.close()
                        }
                    }
                    // The loop looks at them once more.
                    try await pass(.milliseconds(1100), on: group.loops[0])
                    flushed.close()
                    cancelled.close()
                    for peer in [one, two, three] { peer.close() }
                    await flushed.closed()
                    #expect(Warnings.take(.neverFlushed, at: "a channel of Derived, Announcer") == nil)
                }
            }
        }
    }

    private func holdUp() { usleep(150_000) }

    private final class Sleeper: ChannelHandler {
        static let interests: ChannelEvents = [.read]
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { holdUp() }
    }

    private final class Forgetful: ChannelHandler {
        static let interests: ChannelEvents = [.read]
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.write(bytes) }
    }

    private final class Everything: ChannelHandler {
        static let interests: ChannelEvents = []
        func channelActive(_ context: ChannelContext) {}
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {}
        func channelReadComplete(_ context: ChannelContext) {}
        func channelWritabilityChanged(_ context: ChannelContext) {}
        func inputClosed(_ context: ChannelContext) {}
        func errorCaught(_ context: ChannelContext, _ error: any Error) {}
        func userEvent(_ context: ChannelContext, _ event: any Sendable) {}
        func shutdownBegan(_ context: ChannelContext) {}
        func channelInactive(_ context: ChannelContext) {}
        func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {}
        func write(_ context: ChannelContext, _ file: FileRegion, promise: consuming WritePromise) {}
        func write(_ context: ChannelContext, message: any Sendable, promise: consuming WritePromise) {}
        func flush(_ context: ChannelContext) {}
        func close(_ context: ChannelContext, _ mode: CloseMode) {}
    }

    private final class Outer: ChannelHandler {
        static let interests: ChannelEvents = []
        final class Inner: ChannelHandler {
            static let interests: ChannelEvents = [.read]
        }
    }
    extension Outer.Inner {
        func channelActive(_ context: ChannelContext) {}
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {}
    }

    private final class Generic<T>: ChannelHandler {
        static var interests: ChannelEvents { [.active] }
        func channelInactive(_ context: ChannelContext) {}
    }

    private class Base: ChannelHandler {
        class var interests: ChannelEvents { [.flush] }
        func flush(_ context: ChannelContext) { context.flush() }
    }
    private final class Derived: Base {
        override class var interests: ChannelEvents { [] }
    }

    private final class Overloading: ChannelHandler {
        static let interests: ChannelEvents = []
        func write(_ context: ChannelContext, _ text: String) {}
        func close(_ context: ChannelContext) {}
        func flush() {}
        private func channelActive(_ context: ChannelContext, twice: Bool) {}
    }
#endif
