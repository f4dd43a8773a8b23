import MicroKit
import SwiftTransport

/// What it costs to pass received bytes on through one handler: a pipeline with eight of them against one with none.
enum HopCost {
    private static let hops: UInt64 = 8
    private static let reads: UInt64 = 1_000_000
    private static let rounds = 15

    static func measure(on stage: MicroStage) async throws -> MicroFigure {
        let short = try await stage.connect { [Source(), Sink()] }
        let long = try await stage.connect { [Source()] + (0..<hops).map { _ in Pass() } + [Sink()] }
        // The two take turns, and the median of the differences forgets what disturbed one of them.
        var differences: [MicroFigure] = []
        for _ in 0..<rounds {
            let base = try await drive(short, on: stage)
            differences.append(difference(try await drive(long, on: stage), base))
        }
        for channel in [short, long] { channel.close(.immediate) }
        return differences.sorted { $0.cpu < $1.cpu }[rounds / 2]
    }

    private static func difference(_ long: MicroFigure, _ short: MicroFigure) -> MicroFigure {
        func rest(_ value: (MicroFigure) -> UInt64) -> UInt64 { value(long) - min(value(long), value(short)) }
        return MicroFigure(
            name: "hop", operations: reads * hops, cpu: rest(\.cpu), wall: rest(\.wall),
            // Nothing of it is system time, and the samples are too few to be subtracted.
            userSampled: rest(\.cpu), systemSampled: 0,
            allocations: long.allocations.map { _ in rest { $0.allocations ?? 0 } })
    }

    private static func drive(_ channel: Channel, on stage: MicroStage) async throws -> MicroFigure {
        let figure = try await stage.onLoop {
            channel.pipeline.withContext(of: Source.self) { context in
                let payload = Buffer([UInt8](repeating: 7, count: 64))
                let meter = ThreadMeter()
                for _ in 0..<reads { context.fireChannelRead(payload) }
                return meter.figure("reads", operations: reads)
            }
        }
        guard let figure else { throw BenchError("the connection closed while it was measured") }
        return figure
    }
}

/// Where the bytes come from.
private final class Source: ChannelHandler {
    static let interests: ChannelEvents = []
}

/// Passes on, as a handler does that is interested in something else.
private final class Pass: ChannelHandler {
    static let interests: ChannelEvents = [.read]
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.fireChannelRead(bytes) }
}

/// Where the bytes end.
private final class Sink: ChannelHandler {
    static let interests: ChannelEvents = [.read]
    private var bytes = 0
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { self.bytes &+= bytes.count }
}
