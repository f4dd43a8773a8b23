import MicroKit
import NIOCore

/// Writes small messages, each with a promise, and flushes after every batch.
///
/// As cheap as SwiftNIO allows: the buffer is shared and not copied, the completions are counted without a further hop,
/// and one task of the loop does many batches, because SwiftNIO sends within `flush`.
final class Writer: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let batch: Int
    private let nanoseconds: UInt64
    private let payload = ByteBuffer(repeating: 7, count: 64)

    // The loop's thread only, like everything below.
    private var context: ChannelHandlerContext?
    private var result: EventLoopPromise<MicroFigure>?
    private var meter: ThreadMeter?
    private var written: UInt64 = 0
    private var completed: UInt64 = 0
    private var measuredFrom: UInt64 = 0
    private var end: UInt64 = 0
    private var isWaiting = false

    private static let batchesPerTask = 64
    private static let warmUpNanoseconds: UInt64 = 200_000_000

    init(batch: Int, seconds: Double) {
        self.batch = batch
        nanoseconds = UInt64(seconds * 1e9)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    /// Begins, and is fulfilled with the figure of the time after the warm-up.
    func figure(on loop: any EventLoop) -> EventLoopFuture<MicroFigure> {
        let result = loop.makePromise(of: MicroFigure.self)
        loop.execute {
            self.result = result
            self.end = monotonicNanoseconds() + Self.warmUpNanoseconds
            self.run()
        }
        return result.futureResult
    }

    private func run() {
        guard let context else { return }
        for _ in 0..<Self.batchesPerTask where completed == written { writeBatch(context) }
        guard completed == written else {
            isWaiting = true  // the socket is full
            return
        }
        guard monotonicNanoseconds() < end else { return phaseEnded() }
        context.eventLoop.execute { self.run() }
    }

    private func writeBatch(_ context: ChannelHandlerContext) {
        written += UInt64(batch)
        for _ in 0..<batch {
            let promise = context.eventLoop.makePromise(of: Void.self)
            promise.futureResult.whenComplete { _ in self.writeCompleted() }
            context.write(wrapOutboundOut(payload), promise: promise)
        }
        context.flush()
    }

    private func writeCompleted() {
        completed += 1
        if isWaiting, completed == written {
            isWaiting = false
            context?.eventLoop.execute { self.run() }
        }
    }

    private func phaseEnded() {
        if let meter {
            result?.succeed(meter.figure("write-\(batch)", operations: completed - measuredFrom))
        } else {
            measuredFrom = completed
            end = monotonicNanoseconds() + nanoseconds
            meter = ThreadMeter()
            run()
        }
    }
}
