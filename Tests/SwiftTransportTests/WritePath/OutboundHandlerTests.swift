import Testing

@testable import SwiftTransport

extension WritePath {
    /// The way of a write through the handlers.
    @Suite struct OutboundHandlers {
        /// Puts its letter in front of what is written.
        private final class Prefix: ChannelHandler {
            static let interests: ChannelEvents = [.write]
            let letter: String
            init(_ letter: String) { self.letter = letter }
            func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
                context.write(letter + String(bytes), promise: promise)
            }
        }

        /// Turns numbers into bytes; refuses negative ones.
        private final class NumberEncoder: ChannelHandler {
            static let interests: ChannelEvents = [.write]
            func write(_ context: ChannelContext, message: any Sendable, promise: consuming WritePromise) {
                guard let number = message as? Int else {
                    context.write(message: message, promise: promise)
                    return
                }
                guard number >= 0 else { return promise.complete(TransportError(.system, errno: 22)) }
                context.write(Buffer("\(number)\n"), promise: promise)
            }
        }

        /// W4: from the last handler to the first; one that does not care is passed by.
        @Test(arguments: WritePath.engines)
        func writesGoFromTailToHead(engine: Engine) async throws {
            let handlers: @Sendable (Log) -> [any ChannelHandler] = {
                [Prefix("1"), Recorder($0), Prefix("2"), PassThrough(), Prefix("3")]
            }
            try await WritePath.withRig(engine, handlers: handlers) { rig in
                try await rig.channel.send(Buffer("x"))
                #expect(await rig.peer.read(4) == Array("123x".utf8))
                // From a handler: only those before it.
                try await rig.run { channel in channel.recorderContext.writeAndFlush(Buffer("y")) }
                #expect(await rig.peer.read(6) == Array("123x1y".utf8))
            }
        }

        /// W4, W7: a handler that cannot do it fails the promise of that write; a message no handler knows fails with a reason of
        /// its own. Nothing is thrown, and the channel goes on.
        @Test(arguments: WritePath.engines)
        func whatCannotBeEncodedFails(engine: Engine) async throws {
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [NumberEncoder(), Recorder($0)] }) { rig in
                let log = rig.log
                rig.channel.write(message: 17, promise: log.promise(0))
                rig.channel.write(message: "not a number", promise: log.promise(1))
                rig.channel.write(message: -1, promise: log.promise(2))
                rig.channel.write(message: 4, promise: log.promise(3))
                rig.channel.write(message: [1, 2], promise: log.promise(4))
                rig.channel.flush()
                await log.untilDone(5)
                #expect(
                    Set(log.done) == [
                        .done(0, nil), .done(1, .unencodableMessage), .done(2, .system), .done(3, nil),
                        .done(4, .unencodableMessage),
                    ])
                #expect(await rig.peer.read(5) == Array("17\n4\n".utf8))
                #expect(rig.channel.isWritable && rig.channel.pendingBytes == 0)
                rig.channel.close(.immediate)
                await rig.channel.closed()
                rig.channel.write(message: "late", promise: log.promise(5))
                await log.untilDone(6)
                #expect(log.done.last == .done(5, .closed))
            }
        }

        /// W7: sizes cannot be negative; what claims to be is empty.
        @Test func negativeSizesAreEmpty() {
            #expect(ByteCount(-5).bytes == 0)
            #expect(Buffer(capacity: -4) { _ in }.isEmpty)
        }

        /// W5: what belongs to the loop's thread stops the program elsewhere, instead of racing.
        @Test func anotherThreadStopsTheProgram() async {
            await #expect(processExitsWith: .failure) {
                let group = try EventLoopGroup(loops: 1)
                let channel = Channel(eventLoop: group.loops[0], configuration: ChannelConfiguration())
                channel.cancel(.stale)
            }
            await #expect(processExitsWith: .failure) {
                let group = try EventLoopGroup(loops: 1)
                let channel = Channel(eventLoop: group.loops[0], configuration: ChannelConfiguration())
                channel.pipeline.addLast(WritePath.PassThrough())
            }
            #if DEBUG
                await #expect(processExitsWith: .failure) {
                    let group = try EventLoopGroup(loops: 1)
                    let channel = Channel(eventLoop: group.loops[0], configuration: ChannelConfiguration())
                    ChannelContext(WritePath.PassThrough(), channel: channel).write(Buffer("x"))
                }
            #endif
        }
    }
}
