@testable import SwiftTransport

extension WritePath {
    /// The last handler: records every event, and what came in.
    final class Recorder: ChannelHandler {
        let log: Log
        private(set) var received: [UInt8] = []
        /// Called after writability changes were recorded.
        var onWritability: ((ChannelContext) -> Void)?
        /// Called after a write with a tag was recorded.
        var onCompleted: ((ChannelContext, UInt64) -> Void)?
        /// The same with the result, instead of recording it.
        var onCompletedWith: ((UInt64, WriteResult) -> Void)?
        /// Called after the end of input was recorded.
        var onInputClosed: ((ChannelContext) -> Void)?

        init(_ log: Log) { self.log = log }

        func channelActive(_ context: ChannelContext) { log.add(.active) }
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
            bytes.withUnsafeBytes { received += $0 }
            log.add(.note("read"))
        }
        func channelWritabilityChanged(_ context: ChannelContext) {
            log.add(.writable(context.channel.isWritable))
            onWritability?(context)
        }
        func inputClosed(_ context: ChannelContext) {
            log.add(.inputClosed)
            onInputClosed?(context)
        }
        func errorCaught(_ context: ChannelContext, _ error: any Error) {
            if let error = error as? TransportError { log.add(.error(error.code)) }
        }
        func userEvent(_ context: ChannelContext, _ event: any Sendable) {
            if event is ChannelNotice { log.add(.notice) }
        }
        func channelInactive(_ context: ChannelContext) { log.add(.inactive) }
        func handlerRemoved(_ context: ChannelContext) { log.add(.note("removed")) }
        func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) {
            if let onCompletedWith { return onCompletedWith(tag, result) }
            log.add(.done(Int(tag), result?.code))
            onCompleted?(context, tag)
        }
        func writeProgressed(_ context: ChannelContext, tag: UInt64, progress: WriteProgress) {
            log.add(.progress(Int(tag), written: progress.written, total: progress.total))
        }
    }
}

extension Channel {
    /// The context of the recorder. The loop's thread only.
    var recorderContext: ChannelContext { pipeline.context(of: WritePath.Recorder.self)! }
    var recorder: WritePath.Recorder { recorderContext.handler as! WritePath.Recorder }
}

extension WritePath {
    /// Sees everything and passes it on, as a handler with the default interests does.
    final class PassThrough: ChannelHandler {}
}
