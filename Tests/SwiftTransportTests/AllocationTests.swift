import CTransport
import SwiftTransport
import Synchronization
import Testing

extension Scenarios {
    /// Heap allocations per echoed message in steady state: 0. Counted by jemalloc on the loop's thread,
    /// in bytes, so that not one of them can hide (B5, B6).
    ///
    /// Run it in an optimised build too: `make test` does.
    @Suite(.enabled(if: canCountAllocations, "needs the trait Jemalloc: malloc does not count"))
    struct AllocationTests {
        enum Traffic: String, CaseIterable, Sendable {
            /// 64 B: copied behind each other.
            case small
            /// 16 KiB: sent from the receive memory itself.
            case large
            var message: [UInt8] { Pattern(seed: 1).bytes(at: 0, count: self == .small ? 64 : 16 * 1024) }
            var rounds: Int { self == .small ? 5000 : 1000 }
        }

        @Test(arguments: Place.all, Traffic.allCases) func echoAllocatesNothing(_ place: Place, _ traffic: Traffic)
            async throws
        {
            try await withGroup(place.engine) { group in
                let loop = group.loops[0]
                let server = try await group.serve(place) { [EchoHandler()] }
                let peers = try await blocking { try (0..<4).map { _ in try RawSocket.connect(to: server.address) } }
                try await server.accepted.wait(for: "all connections") { $0.count == peers.count }
                // The warm-up asks for as much at once as will ever be asked for: all peers in one turn. And for more receive
                // memory than ever: how often a chunk ends in the middle of a turn, with another needed before it is back,
                // depends on the load of the machine.
                for burst in [traffic.message.count, 60_000] {
                    try await withLoopHeld(loop) {
                        try await blocking { for peer in peers { try peer.write([UInt8](repeating: 1, count: burst)) } }
                    }
                    try await blocking { for peer in peers { _ = try peer.read(burst) } }
                }
                try await exchange(traffic, rounds: traffic.rounds / 5, peers)

                let used = try await bytes(on: loop) { try await exchange(traffic, rounds: traffic.rounds, peers) }
                #expect(used == 0)
            }
        }

        @Test(arguments: Place.all, WrittenContent.allCases)
        func whoLooksAtWritesAllocatesNothing(_ place: Place, _ content: WrittenContent) async throws {
            try await withGroup(place.engine) { group in
                let loop = group.loops[0]
                let seen = Tally()
                let server = try await group.serve(place) { [Watcher(seen), Answerer(content)] }
                let peer = try await blocking { try RawSocket.connect(to: server.address) }
                try await server.accepted.wait(for: "the connection") { $0.count == 1 }
                let question = [UInt8](repeating: 7, count: content == .largeLent ? 16 * 1024 : 64)
                let answer = content == .lent || content == .largeLent ? question : [UInt8](Answerer.answer(content))
                let ask = { (rounds: Int) in
                    try await blocking {
                        for _ in 0..<rounds {
                            try peer.write(question)
                            guard try peer.read(answer.count) == answer else { throw CancellationError() }
                        }
                    }
                }
                if content == .lent || content == .largeLent {
                    // More receive memory than will ever be asked for.
                    try await withLoopHeld(loop) {
                        try await blocking { try peer.write([UInt8](repeating: 7, count: 60_000)) }
                    }
                    _ = try await blocking { try peer.read(60_000) }
                }
                try await ask(300)
                let before = seen.bytes
                let used = try await bytes(on: loop) { try await ask(500) }
                #expect(used == 0)
                #expect(seen.bytes - before == 500 * answer.count)
            }
        }

        /// The counter counts: asking costs nothing, and a single allocation on the loop shows.
        @Test func oneAllocationIsSeen() async throws {
            try await withGroup(.epoll) { group in
                let loop = group.loops[0]
                let asking = try await bytes(on: loop) {}
                #expect(asking == 0)
                let one = try await bytes(on: loop) { loop.execute { ct_memory_free(ct_memory_allocate(64), 64) } }
                #expect(one == 64)
            }
        }

        /// What the loop's thread allocates meanwhile.
        private func bytes(on loop: EventLoop, during body: () async throws -> Void) async throws -> UInt64 {
            let before = try await allocated(on: loop)
            try await body()
            return try await allocated(on: loop) - before
        }

        /// The loop leaves its answer where it can be found: waking a task that waits for it would allocate.
        private func allocated(on loop: EventLoop) async throws -> UInt64 {
            let answer = Answer()
            loop.execute { answer.bytes.store(ct_memory_thread_allocated(), ordering: .releasing) }
            try await eventually("an answer of the loop") { answer.bytes.load(ordering: .acquiring) > 0 }
            return answer.bytes.load(ordering: .acquiring)
        }

        private final class Answer: Sendable {
            let bytes = Atomic<UInt64>(0)
        }

        private func exchange(_ traffic: Traffic, rounds: Int, _ peers: [RawSocket]) async throws {
            let correct = try await blocking { try RawSocket.exchange(traffic.message, count: rounds, with: peers) }
            #expect(correct)
        }
    }
}

private let canCountAllocations = ct_memory_thread_allocated() > 0

/// What a handler writes past another one that looks at it.
enum WrittenContent: String, CaseIterable, Sendable { case lent, largeLent, span, text, buffer, largeBuffer, literal }

/// Looks at every byte that is written, and passes it on.
private final class Watcher: ChannelHandler {
    static let interests: ChannelEvents = [.write]
    private let seen: Tally
    init(_ seen: Tally) { self.seen = seen }

    func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
        seen.add(bytes.withUnsafeBytes { $0.count { $0 != 0 } })
        context.write(bytes, promise: promise)
    }
}

/// Answers each question.
private final class Answerer: ChannelHandler {
    static let interests: ChannelEvents = [.read, .readComplete]
    private static let literal: Buffer =
        """
        A text that is part of the program, longer than what is copied: \
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
        """
    private static let text = "a text as long as most lines of a protocol are, and a little longer"

    static func answer(_ content: WrittenContent) -> Buffer {
        switch content {
        case .lent, .largeLent: Buffer()
        case .literal: literal
        case .text: Buffer(text)
        case .span, .buffer: Buffer([UInt8](repeating: 5, count: 64))
        case .largeBuffer: Buffer([UInt8](repeating: 5, count: 16 * 1024))
        }
    }

    private let content: WrittenContent
    private let answer: Buffer
    init(_ content: WrittenContent) {
        self.content = content
        answer = Self.answer(content)
    }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        switch content {
        case .lent, .largeLent: context.write(bytes)
        case .span:
            let answer = answer
            context.write(answer.span)
        case .text: context.write(Self.text)
        case .buffer, .largeBuffer, .literal: context.write(answer)
        }
    }
    func channelReadComplete(_ context: ChannelContext) { context.flush() }
}

private final class Tally: Sendable {
    private let count = Atomic<Int>(0)
    var bytes: Int { count.load(ordering: .acquiring) }
    func add(_ bytes: Int) { count.wrappingAdd(bytes, ordering: .releasing) }
}
