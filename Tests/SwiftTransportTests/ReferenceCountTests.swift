import CReferenceCount
import Synchronization
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// The house rule for the hot path: no retain, no release, no exclusivity check. Counted on the loop's thread, one by
    /// one, so that not one of them can hide.
    ///
    /// Only in an optimised build: `make test` does it.
    @Suite(
        .enabled(if: isOptimised, "only optimised code is free of reference counts"),
        .enabled(if: reference_counts_are_kept(), "nothing is counted on this processor"))
    struct ReferenceCountTests {
        /// What a message goes through.
        enum Path: String, CaseIterable, Sendable {
            /// 64 B: copied behind each other.
            case small
            /// 16 KiB: sent from the receive memory itself.
            case large
            /// 64 B past a handler that watches, through two that pass on.
            case handlers
            /// 64 B past a handler that sees every write.
            case watched
            /// 64 B, and the handler is told when the kernel has taken them.
            case tagged

            var message: [UInt8] { Pattern(seed: 1).bytes(at: 0, count: self == .large ? 16 * 1024 : 64) }
            var handlers: [any ChannelHandler] {
                switch self {
                case .small, .large: [EchoHandler()]
                case .handlers: [BackPressureHandler(), PassingHandler(), PassingHandler(), EchoHandler()]
                case .watched: [WatchingHandler(), EchoHandler()]
                case .tagged: [TaggingHandler()]
                }
            }
        }

        private static let connections = 64
        private static let rounds = 50

        @Test(arguments: Place.all, Path.allCases) func echoCountsNoReference(_ place: Place, _ path: Path)
            async throws
        {
            let used = try await echo(place, path.message) { path.handlers }
            #expect(used == Counts())
        }

        /// How a batch is written.
        enum Way: String, CaseIterable, Sendable {
            /// By the handler, each write with a completion of its own.
            case handler
            /// The same past a handler that passes writes on.
            case pastHandler
            /// By the channel, as code does that is no handler.
            case channel
        }

        /// 32 writes per flush.
        @Test(arguments: Place.all, Way.allCases)
        func batchCountsNoReference(_ place: Place, _ way: Way) async throws {
            try await withGroup(place.engine) { group in
                let completed = Tally()
                let loop = group.loops[0]
                let server = try await group.serve(place) {
                    (way == .pastHandler ? [PassThrough()] : []) + [BatchHandler(completed, byChannel: way == .channel)]
                }
                let peer = try await blocking { try RawSocket.connect(to: server.address) }
                try await server.accepted.wait(for: "the connection") { $0.count == 1 }
                let exchange = {
                    let expected = completed.value + Self.rounds * BatchHandler.writes
                    try await blocking {
                        for _ in 0..<Self.rounds {
                            try peer.write([1])
                            _ = try peer.read(BatchHandler.writes * BatchHandler.message.count)
                        }
                    }
                    try await eventually("the completions") { completed.value == expected }
                }
                try await exchange()

                let used = try await counts(on: loop) { try await exchange() }
                #expect(used == Counts())
            }
        }

        /// A task per connection: suspending and waking it costs references, but no check of our own.
        @Test(arguments: Place.all) func asyncEchoChecksNoAccess(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let bootstrap = ServerBootstrap(group: group).serve { connection in
                    for try await bytes in connection.inbound { try await connection.send(bytes) }
                }
                let server = try await bootstrap.bind(to: place.freshAddress())
                let peers = try await connect(to: server.localAddress)
                try await exchange(Path.small.message, rounds: 2, peers)
                let used = try await counts(on: group.loops[0]) {
                    try await exchange(Path.small.message, rounds: Self.rounds, peers)
                }
                #expect(used.accesses == 0)
            }
        }

        // MARK: The counters count

        /// A handler that retains once for each message: that and nothing else is seen.
        @Test func oneReferenceForEachMessageIsSeen() async throws {
            let place = Place(engine: .epoll, network: .unix)
            let used = try await echo(place, Path.small.message) { [RetainingHandler(), EchoHandler()] }
            #expect(used == Counts(retains: UInt64(Self.connections * Self.rounds)))
        }

        /// A retain, a release and a checked access are seen, each as what it is.
        @Test func oneReferenceOfEachKindIsSeen() {
            let object = Unmanaged.passRetained(Counted())
            let start = Counts.ofThread
            _ = object.retain()
            let retained = Counts.ofThread
            object._withUnsafeGuaranteedRef { $0.change() }
            let changed = Counts.ofThread
            object.release()
            let released = Counts.ofThread
            #expect(retained - start == Counts(retains: 1))
            #expect(changed - retained == Counts(accesses: 1))
            #expect(released - changed == Counts(releases: 1))
            object.release()
        }

        // MARK: Counting

        /// What a loop counts while `rounds` messages of each connection are echoed.
        private func echo(
            _ place: Place, _ message: [UInt8], _ handlers: @escaping @Sendable () -> sending [any ChannelHandler]
        ) async throws -> Counts {
            try await withGroup(place.engine) { group in
                let server = try await group.serve(place, handlers: handlers)
                let peers = try await connect(to: server.address)
                try await server.accepted.wait(for: "all connections") { $0.count == peers.count }
                try await exchange(message, rounds: 2, peers)
                return try await counts(on: group.loops[0]) {
                    try await exchange(message, rounds: Self.rounds, peers)
                }
            }
        }

        private func connect(to address: SocketAddress) async throws -> [RawSocket] {
            try await blocking { try (0..<Self.connections).map { _ in try RawSocket.connect(to: address) } }
        }

        private func exchange(_ message: [UInt8], rounds: Int, _ peers: [RawSocket]) async throws {
            let correct = try await blocking { try RawSocket.exchange(message, count: rounds, with: peers) }
            #expect(correct)
        }

        /// What the loop's thread counts while `body` runs, without what asking for it counts.
        private func counts(on loop: EventLoop, during body: () async throws -> Void) async throws -> Counts {
            let question = Question()
            let start = try await question.ask(loop)
            let asking = try await question.ask(loop) - start
            let before = try await question.ask(loop)
            try await body()
            return try await question.ask(loop) - before - asking
        }

        /// Asks a loop for its counts. It is kept between the questions, and has nothing to release in the end: what the
        /// loop does for an answer is the same each time.
        private final class Question: LoopWork, @unchecked Sendable {
            private let answer = Mutex<Counts?>(nil)

            func ask(_ loop: EventLoop) async throws -> Counts {
                answer.withLock { $0 = nil }
                #expect(loop.post(self))
                try await eventually("an answer of the loop") { answer.withLock { $0 != nil } }
                return try #require(answer.withLock { $0 })
            }

            override func run(on loop: EventLoop) { answer.withLock { $0 = .ofThread } }
        }
    }
}

#if DEBUG
    private let isOptimised = false
#else
    private let isOptimised = true
#endif

private struct Counts: Equatable, CustomStringConvertible {
    var retains: UInt64 = 0
    var releases: UInt64 = 0
    var accesses: UInt64 = 0

    static var ofThread: Counts {
        let counts = reference_counts_of_thread()
        return Counts(retains: counts.retains, releases: counts.releases, accesses: counts.accesses)
    }

    static func - (left: Counts, right: Counts) -> Counts {
        // Wrapping: a difference below zero shall be read in the message, not stop the program.
        Counts(
            retains: left.retains &- right.retains, releases: left.releases &- right.releases,
            accesses: left.accesses &- right.accesses)
    }

    var description: String {
        "\(Int64(bitPattern: retains)) retains, \(Int64(bitPattern: releases)) releases, "
            + "\(Int64(bitPattern: accesses)) exclusivity checks"
    }
}

/// Passes on what it gets.
private final class PassingHandler: ChannelHandler {
    static let interests: ChannelEvents = [.read, .readComplete]
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.fireChannelRead(bytes) }
    func channelReadComplete(_ context: ChannelContext) { context.fireChannelReadComplete() }
}

/// Looks at what is written.
private final class WatchingHandler: ChannelHandler {
    static let interests: ChannelEvents = [.write]
    func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
        context.write(bytes, promise: promise)
    }
}

/// Passes on whatever there is, in both directions.
private final class PassThrough: ChannelHandler {}

/// Sends back what it gets, and wants to know when it is gone.
private final class TaggingHandler: ChannelHandler {
    static let interests: ChannelEvents = [.read, .readComplete]
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.write(bytes, tag: 1) }
    func channelReadComplete(_ context: ChannelContext) { context.flush() }
}

/// Answers whatever comes with many small writes, each with a completion or, by the channel, without one.
private final class BatchHandler: ChannelHandler {
    static let interests: ChannelEvents = [.read]
    static let writes = 32
    static let message = [UInt8](repeating: 7, count: 64)

    private let buffer = Buffer(message)
    private let completed: Tally
    private let byChannel: Bool
    init(_ completed: Tally, byChannel: Bool) {
        self.completed = completed
        self.byChannel = byChannel
    }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        if byChannel { return writeByChannel(context.channel) }
        for tag in 0..<UInt64(Self.writes) { context.write(buffer, tag: tag) }
        context.flush()
    }
    private func writeByChannel(_ channel: Channel) {
        for _ in 0..<Self.writes { channel.write(buffer) }
        channel.flush()
        for _ in 0..<Self.writes { completed.add() }
    }
    func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) { completed.add() }
}

/// Retains something for each message, and keeps it until the end.
private final class RetainingHandler: ChannelHandler {
    static let interests: ChannelEvents = [.read]
    private let object = Counted()
    @exclusivity(unchecked) private var retained = 0

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        _ = Unmanaged.passUnretained(object).retain()
        retained += 1
        context.fireChannelRead(bytes)
    }

    deinit { for _ in 0..<retained { Unmanaged.passUnretained(object).release() } }
}

/// Something to be counted.
private final class Counted {
    private var value = [0]
    /// The access lasts across a call the compiler cannot see through, so that it must be checked.
    @inline(never) func change() { Self.change(&value) }
    @inline(never) private static func change(_ value: inout [Int]) { _ = reference_counts_of_thread() }
}

/// Counts, on any thread.
private final class Tally: Sendable {
    private let count = Atomic<Int>(0)
    var value: Int { count.load(ordering: .acquiring) }
    func add() { count.wrappingAdd(1, ordering: .releasing) }
}
