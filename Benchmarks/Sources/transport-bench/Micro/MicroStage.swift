import SwiftTransport

/// What the micro benchmarks run on: a loop that is measured, one that plays the other thread, and somebody who reads.
struct MicroStage {
    let measured: EventLoopGroup
    let other: EventLoopGroup
    /// Where a peer in another process reads and forgets.
    let drain: SocketAddress
    /// How long to measure what has no end of its own.
    let duration: Duration

    /// The loop that is measured.
    var loop: EventLoop { measured.loops[0] }

    /// - Parameter processors: one for each loop, if there are two.
    init(
        drain: SocketAddress, duration: Duration, engine: Engine, processors: [Int], copyLimit: ByteCount? = nil
    ) throws {
        self.drain = drain
        self.duration = duration
        measured = try Self.group(engine, pinnedTo: processors.prefix(1), copyLimit)
        other = try Self.group(engine, pinnedTo: processors.suffix(1), copyLimit)
    }

    private static func group(
        _ engine: Engine, pinnedTo processors: ArraySlice<Int>, _ copyLimit: ByteCount?
    ) throws -> EventLoopGroup {
        var options = LoopOptions()
        options.engine = engine.choice
        options.cpus = Array(processors)
        if let copyLimit { options.copyLimit = copyLimit }
        return try EventLoopGroup(loops: 1, options: options)
    }

    /// A connection on the measured loop.
    func connect(_ handlers: @escaping @Sendable () -> sending [any ChannelHandler] = { [] }) async throws -> Channel {
        try await ClientBootstrap(group: measured).handlers(handlers).connect(to: drain)
    }

    /// Closes everything.
    func end() async {
        await measured.shutdown(within: .seconds(1))
        await other.shutdown(within: .seconds(1))
    }

    /// Runs `body` on the measured loop and waits for what it reports.
    func onLoop<Answer: Sendable>(_ body: @escaping @Sendable () -> Answer) async throws -> Answer {
        guard let answer = await loop.run(body) else { throw BenchError("the event loop has shut down") }
        return answer
    }
}
