import MicroKit
import SwiftTransport

/// What it costs to arm a timer on the loop and to cancel it.
enum TimerCost {
    private static let timers: UInt64 = 1_000_000

    static func measure(on stage: MicroStage) async throws -> MicroFigure {
        let loop = stage.loop
        return try await stage.onLoop {
            let meter = ThreadMeter()
            for _ in 0..<timers { loop.schedule(after: .seconds(30)) {}.cancel() }
            return meter.figure("timer", operations: timers)
        }
    }
}
