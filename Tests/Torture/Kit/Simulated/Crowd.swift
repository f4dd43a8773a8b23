import Glibc
import SwiftTransport
import Synchronization
import TransportTesting

/// Very many connections to one service on one loop: they come, are idle, hear a broadcast, come and go, answer, and leave all at
/// once. It must work at any number, and what a connection costs must not grow with it.
struct Crowd: Sendable {
    let count: Int
    let engine: Engine

    private static let port: UInt16 = 7000
    private static let news = 64

    /// False: something was not as it should be, and is printed.
    func execute() async -> Bool {
        var options = SimulationOptions()
        options.engine = engine
        options.stepLimit = .max
        do {
            return try await SimulatedNetwork.run(seed: 1, options: options) { network in
                try await self.body(network)
            }
        } catch {
            say("BAD \(engine.rawValue): \(error)")
            return false
        }
    }

    /// What is said of each chapter: how long it took, and what the service holds.
    private final class Story {
        private let engine: Engine
        private let before: Int
        private var begin = ContinuousClock.now
        private(set) var isClean = true

        init(_ engine: Engine) {
            self.engine = engine
            before = Self.memory
        }

        private static var memory: Int { allocatedBytes() - SimulatedCrowd.kernelMemory }

        func tell(_ what: String, per connections: Int = 0, _ holds: Bool) {
            let seconds = (ContinuousClock.now - begin) / .seconds(1)
            let bytes = Self.memory - before
            let each = connections > 0 ? ", \(bytes / connections) bytes each" : ""
            say(
                """
                \(holds ? "" : "BAD ")\(engine.rawValue): \(what), \(Run.grouped(Int(seconds * 1000))) ms, \
                \(Run.grouped(bytes / 1024)) KiB\(each)
                """)
            isClean = isClean && holds
            begin = .now
        }
    }

    private func body(_ network: SimulatedNetwork) async throws -> Bool {
        let service = network.addHost("service")
        let group = try service.makeGroup()
        let everybody = ChannelGroup()
        let census = Counts()
        _ = try await ServerBootstrap(group: group)
            .childHandlers { [Device(everybody, census)] }
            .backlog(100_000)
            .bind(host: "0.0.0.0", port: Self.port)
        let crowd = SimulatedCrowd(network, hosts: count / 25_000 + 1)
        let story = Story(engine)

        while crowd.count < count {
            crowd.connect(min(10_000, count - crowd.count), to: service, port: Self.port)
            await network.advance(by: .milliseconds(5))
        }
        await network.advance(by: .seconds(5))
        story.tell(
            "\(count) connected", per: count, crowd.connected == count && census.open.load(ordering: .relaxed) == count)

        let loop = group.loops[0]
        let turns = await loop.statistics()?.turns ?? 0
        await network.advance(by: .seconds(600))
        // Whoever asks for them takes a turn or two.
        let idle = (await loop.statistics()?.turns ?? .max) - turns
        story.tell("10 minutes in silence, \(idle) turns", per: count, idle <= 4)

        everybody.writeAndFlush(Buffer([UInt8](repeating: 42, count: Self.news)))
        await network.advance(by: .seconds(1))
        let heard = crowd.read()
        story.tell("a broadcast, \(heard) bytes heard", per: count, heard == count * Self.news)

        for round in 0..<10 {
            crowd.leave(count / 100, resetting: round % 2 == 0)
            crowd.connect(count / 100, to: service, port: Self.port)
            await network.advance(by: .milliseconds(20))
        }
        await network.advance(by: .seconds(5))
        story.tell(
            "10 % came and went", per: count, crowd.connected == count && census.open.load(ordering: .relaxed) == count)

        crowd.send([1, 2, 3, 4])
        await network.advance(by: .seconds(1))
        let echoed = crowd.read()
        story.tell(
            "all asked at once", per: count, echoed == count * 4 && census.bytes.load(ordering: .relaxed) == count * 4)

        crowd.leave(count / 2, resetting: false)
        await network.advance(by: .seconds(5))
        let rest = crowd.count
        story.tell("half of them left at once", per: rest, census.open.load(ordering: .relaxed) == rest)

        everybody.close()
        await network.advance(by: .seconds(5))
        crowd.leave(rest, resetting: false)
        await network.advance(by: .seconds(5))
        let left = await loop.statistics()?.openEndpoints
        story.tell("the service closed the others", census.open.load(ordering: .relaxed) == 0 && left == 1)
        let report = await group.shutdown()
        story.tell("the group ended: \(report)", true)
        return story.isClean
    }

    private final class Counts: Sendable {
        let open = Atomic<Int>(0)
        let bytes = Atomic<Int>(0)
    }

    /// Echoes, and hears the news.
    private final class Device: ChannelHandler {
        private let everybody: ChannelGroup
        private let counts: Counts

        init(_ everybody: ChannelGroup, _ counts: Counts) {
            self.everybody = everybody
            self.counts = counts
        }

        func channelActive(_ context: ChannelContext) {
            counts.open.add(1, ordering: .relaxed)
            everybody.add(context.channel)
        }

        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
            counts.bytes.add(bytes.count, ordering: .relaxed)
            context.write(bytes)
        }

        func channelReadComplete(_ context: ChannelContext) { context.flush() }
        func channelInactive(_ context: ChannelContext) { counts.open.subtract(1, ordering: .relaxed) }
    }
}

/// What the process has allocated, as jemalloc counts it; without it what is resident, which is more.
private func allocatedBytes() -> Int {
    typealias Control =
        @convention(c) (
            UnsafePointer<CChar>, UnsafeMutableRawPointer?, UnsafeMutablePointer<Int>?, UnsafeMutableRawPointer?, Int
        ) -> Int32
    guard let symbol = dlsym(UnsafeMutableRawPointer(bitPattern: 0), "mallctl") else { return residentBytes() }
    let control = unsafeBitCast(symbol, to: Control.self)
    var epoch: UInt64 = 1
    var bytes = 0
    var size = MemoryLayout<Int>.size
    guard control("epoch", nil, nil, &epoch, size) == 0, control("stats.allocated", &bytes, &size, nil, 0) == 0 else {
        return residentBytes()
    }
    return bytes
}

private func residentBytes() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 128)
    guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
    let fields = String(decoding: line.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
    return (Int(fields[1]) ?? 0) * Int(getpagesize())
}
