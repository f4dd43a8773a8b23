import MicroKit
import SwiftTransport

/// What `try await channel.send` costs a task that runs on the channel's own loop: a turn and a system call each.
enum SendCost {
    static func measure(on stage: MicroStage) async throws -> MicroFigure {
        let channel = try await stage.connect()
        let duration = stage.duration
        let task = Task(executorPreference: stage.loop.taskExecutor) {
            let payload = Buffer([UInt8](repeating: 7, count: 64))
            for _ in 0..<1000 { try await channel.send(payload) }

            let end = channel.eventLoop.now + duration
            var sent: UInt64 = 0
            let meter = ThreadMeter()
            while channel.eventLoop.now < end {
                try await channel.send(payload)
                sent += 1
            }
            return meter.figure("send", operations: sent)
        }
        let figure = try await task.value
        channel.close(.immediate)
        await channel.closed()
        return figure
    }
}
