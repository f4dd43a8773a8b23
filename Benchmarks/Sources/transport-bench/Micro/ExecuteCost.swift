import MicroKit
import SwiftTransport

/// What it costs to hand a closure to a loop from another thread.
enum ExecuteCost {
    private static let closures: UInt64 = 500_000
    private static let roundTrips: UInt64 = 50_000

    /// One loop fills another's mailbox as fast as it can. The cost of either side.
    static func stream(on stage: MicroStage) async throws -> [MicroFigure] {
        let loop = stage.loop
        let receiver = Receiver()
        let sender = await stage.other.loops[0].run {
            let meter = ThreadMeter()
            loop.execute { receiver.meter = ThreadMeter() }
            for _ in 0..<closures { loop.execute { receiver.count &+= 1 } }
            return meter.figure("execute-sender", operations: closures)
        }
        let received = try await stage.onLoop {
            receiver.meter?.figure("execute-receiver", operations: receiver.count)
        }
        guard let sender, let received else { throw BenchError("the event loop has shut down") }
        return [sender, received]
    }

    /// A closure goes to and fro between two loops that sleep in between.
    static func pingPong(on stage: MicroStage) async throws -> MicroFigure {
        let game = PingPong(stage.loop, stage.other.loops[0], roundTrips: roundTrips)
        return await withCheckedContinuation { continuation in
            stage.loop.execute { game.begin(continuation) }
        }
    }

    /// The receiving loop's thread only.
    private final class Receiver: @unchecked Sendable {
        var meter: ThreadMeter?
        var count: UInt64 = 0
    }
}

/// Both loops touch it, never at the same time: what is handed over by a mailbox is handed over with all before it.
private final class PingPong: @unchecked Sendable {
    private let home: EventLoop
    private let away: EventLoop
    private let roundTrips: UInt64
    private var left: UInt64
    private var meter: ThreadMeter?
    private var continuation: CheckedContinuation<MicroFigure, Never>?

    init(_ home: EventLoop, _ away: EventLoop, roundTrips: UInt64) {
        self.home = home
        self.away = away
        self.roundTrips = roundTrips
        left = roundTrips
    }

    func begin(_ continuation: CheckedContinuation<MicroFigure, Never>) {
        self.continuation = continuation
        meter = ThreadMeter()
        serve()
    }

    private func serve() {
        guard left > 0 else {
            guard let meter else { return }
            continuation?.resume(returning: meter.figure("ping-pong", operations: roundTrips))
            continuation = nil
            return
        }
        left -= 1
        away.execute { self.home.execute { self.serve() } }
    }
}
