import SwiftTransport
import Testing

extension Scenarios {
    /// Handlers come and go while events are on their way.
    struct PipelineTests {
        /// Reads one line of protocol, hands the rest over to its successor and leaves: how protocols are negotiated.
        @Test(arguments: Place.all) func aHandlerLeavesInTheMiddleOfAnEvent(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let first = Watched(Recording())
                let second = Watched(Recording())
                let (_, peer) = try await group.connection(place) {
                    [
                        RecordingHandler(first) {
                            $0.onRead = { context, _ in context.channel.pipeline.remove(context) }
                        }, RecordingHandler(second),
                    ]
                }
                try await blocking { try peer.write("one") }
                try await second.wait(for: "one") { $0.text == "one" && $0.events.last == .readComplete }
                try await blocking {
                    try peer.write("two")
                    peer.close()
                }
                let end = try await second.wait(for: "the end") { $0.events.last == .removed }
                #expect(end.text == "onetwo")
                #expect(end.rounds == [.added, .active, .read, .readComplete, .inputClosed, .inactive, .removed])
                #expect(first.value.events == [.added, .active, .read, .removed])
            }
        }

        /// Added behind the one that is being called: it sees what that one passes on.
        @Test(arguments: Engine.allCases) func aHandlerAddedDuringAnEventSeesIt(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let added = Watched(Recording())
                let last = Watched(Recording())
                let (_, peer) = try await group.connection(Place(engine: engine, network: .tcp)) {
                    [
                        RecordingHandler {
                            $0.onActive = { $0.add(RecordingHandler(added), .behind) }
                        }, RecordingHandler(last),
                    ]
                }
                try await blocking {
                    try peer.write("x")
                    peer.close()
                }
                let end = try await added.wait(for: "the end") { $0.events.last == .removed }
                #expect(last.value.text == "x")
                #expect(end.rounds == [.added, .active, .read, .readComplete, .inputClosed, .inactive, .removed])
                #expect(end.text == "x")
            }
        }

        /// Taken out before the event got there: it does not see it, and the one behind it does.
        @Test(arguments: Engine.allCases) func aHandlerTakenOutBeforeTheEventArrivesDoesNotSeeIt(_ engine: Engine)
            async throws
        {
            try await withGroup(engine) { group in
                let removed = Watched(Recording())
                let last = Watched(Recording())
                let (_, peer) = try await group.connection(Place(engine: engine, network: .tcp)) {
                    [
                        RecordingHandler {
                            $0.onRead = { context, _ in
                                if let victim = context.context(of: Victim.self) {
                                    context.channel.pipeline.remove(victim)
                                    context.channel.pipeline.remove(victim)
                                }
                            }
                        }, Victim(removed), RecordingHandler(last),
                    ]
                }
                try await blocking {
                    try peer.write("x")
                    peer.close()
                }
                try await last.wait(for: "the end") { $0.events.last == .removed }
                #expect(removed.value.events == [.added, .active, .removed])
                #expect(last.value.text == "x")
            }
        }

        /// A handler that replaces itself in handlerAdded, before anything has happened.
        @Test(arguments: Engine.allCases) func aHandlerMayReplaceItself(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let log = Watched(Recording())
                let (_, peer) = try await group.connection(Place(engine: engine, network: .tcp)) {
                    [
                        RecordingHandler {
                            $0.onAdded = { context in
                                context.channel.pipeline.add(RecordingHandler(log), behind: context)
                                context.channel.pipeline.remove(context)
                            }
                        }
                    ]
                }
                peer.close()
                let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                #expect(end.events == [.added, .active, .inputClosed, .inactive, .removed])
            }
        }

        /// An empty buffer may be a message: it is passed on like any other, and can be looked at, kept and written.
        @Test(arguments: Engine.allCases) func anEmptyReadIsDelivered(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let log = Watched(Recording())
                let kept = Watched<[Int]>([])
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .unix)) {
                    [
                        EmptySource(),
                        RecordingHandler(log) {
                            $0.onRead = { context, bytes in
                                kept.update { $0 += [bytes.count, bytes.span.byteCount, Buffer(bytes).count] }
                                context.write(bytes, tag: 7)
                                context.flush()
                            }
                        },
                    ]
                }
                try await group.turn {
                    channel.pipeline.withContext(of: EmptySource.self) {
                        $0.fireChannelRead(Buffer())
                        $0.fireChannelReadComplete()
                    }
                }
                try await log.wait(for: "the completion") { $0.events.contains(.completed(7, nil)) }
                #expect(kept.value == [0, 0, 0])
                #expect(log.value.rounds == [.added, .active, .read, .readComplete, .completed(7, nil)])
                peer.close()
            }
        }

        /// A task reads a stream of bytes: to it, an empty piece is nothing.
        @Test(arguments: Engine.allCases) func anEmptyReadIsNoPieceOfAStream(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let pieces = Watched<[Int]>([])
                let server = try await ServerBootstrap(group: group).childHandlers { [EmptySource()] }
                    .serve { connection in
                        for try await piece in connection.inbound { pieces.update { $0.append(piece.count) } }
                    }
                    .bind(to: Place(engine: engine, network: .unix).freshAddress())
                let peer = try await blocking { try RawSocket.connect(to: server.localAddress) }
                try await blocking { try peer.write("x") }
                try await pieces.wait(for: "what came") { $0 == [1] }
                peer.close()
            }
        }

        /// Through its context a handler adds others that share its state, wherever it likes, while it has a place itself.
        @Test(arguments: Engine.allCases) func aHandlerAddsOthers(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let log = Watched<[String]>([])
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .unix)) {
                    [Adding("a", log), Adding("adder", log), Adding("z", log)]
                }
                await group.settle()
                try await group.turn {
                    channel.pipeline.withContext(of: Adding.self) { #expect(($0.handler as? Adding)?.name == "a") }
                    log.update { $0 = [] }
                    channel.pipeline.addFirst(Adding("start", log))
                    channel.pipeline.withContext(of: Adding.self) { $0.fireUserEvent(1) }
                }
                let all = ["first", "a", "before", "adder", "behind", "z", "last"]
                #expect(log.value == ["a", "adder", "behind", "z", "last"])
                try await group.turn {
                    log.update { $0 = [] }
                    channel.pipeline.withContext(of: Adding.self) { first in
                        #expect((first.handler as? Adding)?.name == "first")
                        channel.pipeline.addFirst(Adding("start", log))
                        first.context(of: Adding.self)?.fireUserEvent(2)
                        #expect(first.context(of: EchoHandler.self) == nil)
                        channel.pipeline.remove(first)
                        let isAdded = channel.pipeline.add(Adding("late", log), behind: first)
                        #expect(!isAdded && !first.add(Adding("late", log), .behind))
                        #expect(!first.add(Adding("late", log), .last))
                    }
                }
                #expect(log.value.filter { $0 != "start" } == all)
                peer.close()
            }
        }

        /// A context belongs to one pipeline.
        @Test(arguments: Engine.allCases) func aContextOfAnotherChannelIsRefused(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let place = Place(engine: engine, network: .unix)
                let (one, onePeer) = try await group.connection(place) { [RecordingHandler()] }
                let (other, otherPeer) = try await group.connection(place)
                try await group.turn {
                    one.pipeline.withContext(of: RecordingHandler.self) { context in
                        let isAdded = other.pipeline.add(EchoHandler(), behind: context)
                        #expect(!isAdded)
                        other.pipeline.remove(context)
                    }
                    let stays: Void? = one.pipeline.withContext(of: RecordingHandler.self) { _ in }
                    let other: Void? = other.pipeline.withContext(of: EchoHandler.self) { _ in }
                    #expect(stays != nil && other == nil)
                }
                onePeer.close()
                otherPeer.close()
            }
        }

        /// Handlers and channel hold each other while the channel lives, and let go when it is closed: with every context that
        /// left earlier.
        @Test(arguments: Place.all) func nothingIsKeptAfterTheClose(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let counter = Watched(0)
                do {
                    let (channel, peer) = try await group.connection(place) {
                        [Counted(counter), Counted(counter), Counted(counter)]
                    }
                    #expect(counter.value == 3)
                    try await group.turn {
                        channel.pipeline.withContext(of: Counted.self) { channel.pipeline.remove($0) }
                        channel.pipeline.addFirst(Counted(counter))
                    }
                    peer.close()
                    await channel.closed()
                }
                try await counter.wait(for: "all handlers to be gone") { $0 == 0 }
            }
        }
    }
}

private final class Victim: ChannelHandler {
    static let interests: ChannelEvents = [.active, .read, .readComplete]
    private let log: Watched<Recording>
    init(_ log: Watched<Recording>) { self.log = log }
    func handlerAdded(_ context: ChannelContext) { log.update { $0.events.append(.added) } }
    func handlerRemoved(_ context: ChannelContext) { log.update { $0.events.append(.removed) } }
    func channelActive(_ context: ChannelContext) {
        log.update { $0.events.append(.active) }
        context.fireChannelActive()
    }
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        log.update { $0.events.append(.read) }
        context.fireChannelRead(bytes)
    }
}

/// Passes on an empty buffer before each piece, and behind it.
private final class EmptySource: ChannelHandler {
    static let interests: ChannelEvents = [.read]
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        context.fireChannelRead(Buffer())
        context.fireChannelRead(bytes)
        context.fireChannelRead(Buffer())
    }
}

/// Writes down its name at each event; the one named "adder" adds a handler at every place at the first.
private final class Adding: ChannelHandler {
    static let interests: ChannelEvents = [.userEvent]
    let name: String
    private let log: Watched<[String]>
    private var hasAdded = false
    init(_ name: String, _ log: Watched<[String]>) {
        self.name = name
        self.log = log
    }
    func userEvent(_ context: ChannelContext, _ event: any Sendable) {
        log.update { $0.append(name) }
        if name == "adder", !hasAdded {
            hasAdded = true
            #expect(context.add(Adding("first", log), .first))
            #expect(context.add(Adding("before", log), .before))
            #expect(context.add(Adding("behind", log), .behind))
            #expect(context.add(Adding("last", log), .last))
        }
        context.fireUserEvent(event)
    }
}

/// Counts how many of its kind there are.
private final class Counted: ChannelHandler {
    private let counter: Watched<Int>
    init(_ counter: Watched<Int>) {
        self.counter = counter
        counter.update { $0 += 1 }
    }
    deinit { counter.update { $0 -= 1 } }
}
