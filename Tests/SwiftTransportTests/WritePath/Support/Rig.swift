import Dispatch
import Testing

@testable import SwiftTransport

extension WritePath {
    /// A channel of the library, the plain socket at its other end, and what the channel tells.
    struct Rig: Sendable {
        let group: EventLoopGroup
        let channel: Channel
        let peer: Peer
        let log: Log

        var loop: EventLoop { channel.eventLoop }

        static func open(
            _ group: EventLoopGroup, _ options: [ChannelOption] = [], unix: Bool = false, receiveBuffer: Int32? = nil,
            handlers: (@Sendable (Log) -> [any ChannelHandler])? = nil
        ) async throws -> Rig {
            let log = Log()
            let door = try Door(unix: unix, receiveBuffer: receiveBuffer)
            var bootstrap = ClientBootstrap(group: group).handlers { handlers?(log) ?? [Recorder(log)] }
            for option in options { bootstrap = bootstrap.options(option) }
            let channel = try await bootstrap.connect(to: door.address)
            return Rig(group: group, channel: channel, peer: try door.accept(), log: log)
        }

        /// Runs `body` on the loop, in one turn, and as a part of the test, so that what it expects is the test's.
        @discardableResult
        func run<T: Sendable>(_ body: @escaping @Sendable (Channel) -> T) async throws -> T {
            let (channel, loop) = (channel, loop)
            return try await Task(executorPreference: loop.taskExecutor) {
                try #require(loop.isCurrent)
                return body(channel)
            }.value
        }

        /// Lets the loop make `count` turns.
        func turns(_ count: Int = 8) async throws {
            for _ in 0..<count { try await run { _ in } }
        }

        /// Waits until `condition` holds on the loop.
        func until(_ condition: @escaping @Sendable (Channel) -> Bool) async throws {
            while try await !run(condition), !Task.isCancelled { await Task.yield() }
        }

        /// Fills the socket until the kernel takes no more. Returns how much it took. The rest of what was written for
        /// it is pending.
        func fillKernel(with buffer: Buffer) async throws {
            try await run { channel in
                _ = channel.enqueue(buffer, .none)
                channel.flushQueue()
            }
            var before = -1
            var now = channel.pendingBytes
            while now != before, !Task.isCancelled {
                before = now
                try await turns()
                now = channel.pendingBytes
            }
        }

        /// Sends that ended so far.
        func sends() async throws -> UInt64 { try #require(await loop.statistics()).sends }
    }

    /// ``withGroup(_:loops:options:shutdownWithin:sourceLocation:_:)`` of one loop, with a rig on it whose channel is closed at the end.
    static func withRig(
        _ engine: Engine, _ options: [ChannelOption] = [], loop: LoopOptions = LoopOptions(), unix: Bool = false,
        receiveBuffer: Int32? = nil, handlers: (@Sendable (Log) -> [any ChannelHandler])? = nil,
        sourceLocation: SourceLocation = #_sourceLocation, _ body: (Rig) async throws -> Void
    ) async throws {
        try await withGroup(engine, options: loop, shutdownWithin: .zero, sourceLocation: sourceLocation) { group in
            let rig = try await Rig.open(group, options, unix: unix, receiveBuffer: receiveBuffer, handlers: handlers)
            try await body(rig)
            rig.channel.close(.immediate)
            await rig.channel.closed()
            #expect(rig.channel.pendingBytes == 0, "bytes left counted", sourceLocation: sourceLocation)
        }
    }

    /// Stops a loop until it is opened, so that a test can see what happens on the way to it.
    struct Gate: Sendable {
        private let semaphore = DispatchSemaphore(value: 0)
        /// Returns when the loop stands still.
        init(_ loop: EventLoop) async {
            let semaphore = semaphore
            await withCheckedContinuation { continuation in
                loop.execute {
                    continuation.resume()
                    semaphore.wait()
                }
            }
        }
        func open() { semaphore.signal() }
    }

    /// Tells whether something that was handed to the library, or made by it, is still held by anybody.
    final class Witness: @unchecked Sendable {
        private weak var object: AnyObject?
        init(_ buffer: Buffer) { object = buffer.owner }
        init(_ file: FileRegion) { object = file }
        init(_ context: ChannelContext) { object = context }
        var isFreed: Bool { object == nil }
    }
}
