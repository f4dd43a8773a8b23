import MicroKit
import SwiftTransport

/// A handler that writes batches of messages, each with a completion, and flushes after every batch.
///
/// The next batch begins in the last completion of the one before: one send, and one turn of the loop, per batch.
final class WriteCost: ChannelHandler, @unchecked Sendable {
    static let interests: ChannelEvents = []

    private let batch: UInt64
    private let duration: Duration
    private let payload: Buffer

    // The loop's thread only, like everything below.
    private var continuation: CheckedContinuation<MicroFigure, any Error>?
    private var meter: ThreadMeter?
    private var written: UInt64 = 0
    private var end: EventLoop.Instant?

    private static let warmUp: Duration = .milliseconds(200)

    static func measure(batch: UInt64, bytes: Int = 64, on stage: MicroStage) async throws -> MicroFigure {
        let handler = WriteCost(batch: batch, bytes: bytes, duration: stage.duration)
        let channel = try await stage.connect { [handler] }
        let figure = try await withCheckedThrowingContinuation { continuation in
            channel.eventLoop.execute { handler.begin(channel, continuation) }
        }
        channel.close(.immediate)
        await channel.closed()
        return figure
    }

    private init(batch: UInt64, bytes: Int, duration: Duration) {
        payload = Buffer([UInt8](repeating: 7, count: bytes))
        self.batch = batch
        self.duration = duration
    }

    private func begin(_ channel: Channel, _ continuation: CheckedContinuation<MicroFigure, any Error>) {
        self.continuation = continuation
        end = channel.eventLoop.now + Self.warmUp
        if channel.pipeline.withContext(of: WriteCost.self, { self.writeBatch($0) }) == nil {
            finish(.failure(BenchError("the connection closed before the first write")))
        }
    }

    private func writeBatch(_ context: ChannelContext) {
        for number in 1...batch { context.write(payload, tag: number) }
        context.flush()
    }

    func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) {
        if let error = result { return finish(.failure(error)) }
        guard tag == batch, continuation != nil else { return }
        written += batch
        if let end, context.eventLoop.now >= end { phaseEnded(context) }
        if continuation != nil { writeBatch(context) }
    }

    private func phaseEnded(_ context: ChannelContext) {
        if let meter {
            finish(.success(meter.figure("write-\(batch)", operations: written)))
        } else {
            written = 0
            end = context.eventLoop.now + duration
            meter = ThreadMeter()
        }
    }

    private func finish(_ outcome: Result<MicroFigure, any Error>) {
        continuation?.resume(with: outcome)
        continuation = nil
    }
}
