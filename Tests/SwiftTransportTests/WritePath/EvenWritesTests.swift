import Testing

@testable import SwiftTransport

extension WritePath {
    /// Every kind of content can be written in every way, and arrives as what it is, in its turn.
    @Suite struct EvenWrites {
        /// Writes in front of what it sees what it was, and turns messages into bytes.
        private final class Labeller: ChannelHandler {
            static let interests: ChannelEvents = [.write]
            func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
                context.write("b")
                context.write(bytes, promise: promise)
            }
            func write(_ context: ChannelContext, _ file: FileRegion, promise: consuming WritePromise) {
                context.write("f")
                context.write(file, promise: promise)
            }
            func write(_ context: ChannelContext, message: any Sendable, promise: consuming WritePromise) {
                context.write("m", tag: nil)
                context.write("\(message)", promise: promise)
            }
        }

        /// Writes its input again, by its context or its channel.
        private final class Repeater: ChannelHandler {
            static let interests: ChannelEvents = [.read]
            private let byChannel: Bool
            private let log: Log
            init(byChannel: Bool, _ log: Log) {
                self.byChannel = byChannel
                self.log = log
            }
            func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
                if byChannel {
                    context.channel.write(bytes, promise: log.promise(0))
                    context.channel.writeAndFlush(bytes, promise: log.promise(1))
                } else {
                    context.write(bytes, tag: 0)
                    context.writeAndFlush(bytes, promise: log.promise(1))
                }
            }
            func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) {
                log.add(.done(Int(tag), result?.code))
            }
        }

        private static let content = "buffer span text file message "
        private static let labelled = "bbuffer bspan btext ffile mmessage "

        @Test(arguments: WritePath.engines, [true, false])
        func aHandlerWritesEveryKind(engine: Engine, labelled: Bool) async throws {
            let file = try Self.file()
            let handlers: @Sendable (Log) -> [any ChannelHandler] = { [Labeller(), Recorder($0)] }
            try await WritePath.withRig(engine, handlers: handlers) { rig in
                let log = rig.log
                try await rig.run { channel in
                    let context = channel.recorderContext
                    context.write(Buffer("buffer "), tag: 0)
                    context.write(Buffer("span ").span, tag: 1)
                    context.write("text ", tag: 2)
                    context.write(file, tag: 3)
                    context.writeAndFlush(message: "message ", tag: 4)
                    context.write(Buffer("buffer "), promise: log.promise(5))
                    context.write(Buffer("span ").span, promise: log.promise(6))
                    context.write("text ", promise: log.promise(7))
                    context.write(file, promise: log.promise(8))
                    context.writeAndFlush(message: "message ", promise: log.promise(9))
                    context.writeAndFlush(Buffer("buffer "))
                    context.writeAndFlush(Buffer("span ").span)
                    context.writeAndFlush("text ")
                    context.writeAndFlush(file)
                    context.writeAndFlush(message: "message ")
                }
                await Self.expect(Self.labelled + Self.labelled + Self.labelled, rig)
                await log.untilDone(10)
                #expect(log.done == (0..<10).map { .done($0, nil) })
            }
        }

        /// On the loop and off it.
        @Test(arguments: WritePath.engines, [true, false])
        func aChannelWritesEveryKind(engine: Engine, onLoop: Bool) async throws {
            let file = try Self.file()
            let handlers: @Sendable (Log) -> [any ChannelHandler] = { [Labeller(), Recorder($0)] }
            try await WritePath.withRig(engine, handlers: handlers) { rig in
                let log = rig.log
                let write: @Sendable (Channel) -> Void = { channel in
                    channel.write(Buffer("buffer "), promise: log.promise(0))
                    channel.write(Buffer("span ").span, promise: log.promise(1))
                    channel.write("text ", promise: log.promise(2))
                    channel.write(file, promise: log.promise(3))
                    channel.write(message: "message ", promise: log.promise(4))
                    channel.writeAndFlush(Buffer("buffer "))
                    channel.writeAndFlush(Buffer("span ").span)
                    channel.writeAndFlush("text ")
                    channel.writeAndFlush(file)
                    channel.writeAndFlush(message: "message ")
                }
                if onLoop { try await rig.run(write) } else { write(rig.channel) }
                await Self.expect(Self.labelled + Self.labelled, rig)
                await log.untilDone(5)
                #expect(log.done == (0..<5).map { .done($0, nil) })
            }
        }

        /// Without a handler in between.
        @Test(arguments: WritePath.engines)
        func everyKindGoesStraightToTheQueue(engine: Engine) async throws {
            let file = try Self.file()
            try await WritePath.withRig(engine) { rig in
                try await rig.run { channel in
                    let context = channel.recorderContext
                    context.write(Buffer("buffer "))
                    context.write(Buffer("span ").span)
                    let handle = context.write("never", tag: 1)
                    context.write("text ")
                    context.write(file)
                    context.write("message ")
                    #expect(channel.cancel(handle))
                    channel.flush()
                }
                await Self.expect(Self.content, rig)
                #expect(rig.log.done == [.done(1, .cancelled)])
            }
        }

        @Test(arguments: WritePath.engines, [true, false])
        func aTaskSendsEveryKind(engine: Engine, connection: Bool) async throws {
            let file = try Self.file()
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [Labeller(), Recorder($0)] }) { rig in
                if connection {
                    let connection = Connection(channel: rig.channel, bridge: InboundBridge())
                    try await connection.send(Buffer("buffer "))
                    try await connection.send(Buffer("span ").span)
                    try await connection.send("text ")
                    try await connection.send(file)
                    try await connection.send(message: "message ")
                } else {
                    try await rig.channel.send(Buffer("buffer "))
                    try await rig.channel.send(Buffer("span ").span)
                    try await rig.channel.send("text ")
                    try await rig.channel.send(file)
                    try await rig.channel.send(message: "message ")
                }
                await Self.expect(Self.labelled, rig)
            }
        }

        /// Lent bytes, as they are and through a handler, small and large enough to be shared.
        @Test(arguments: WritePath.engines, [[], [true], [false], [true, false]])
        func lentBytesAreWritten(engine: Engine, kinds: [Bool]) async throws {
            let (byChannel, labelled) = (kinds.contains(true), kinds.contains(false))
            let handlers: @Sendable (Log) -> [any ChannelHandler] = {
                labelled ? [Labeller(), Repeater(byChannel: byChannel, $0)] : [Repeater(byChannel: byChannel, $0)]
            }
            for size in [10, 8000] {
                try await WritePath.withRig(engine, unix: true, handlers: handlers) { rig in
                    let bytes = WritePath.bytes(size)
                    rig.peer.write(bytes)
                    let label = labelled ? Array("b".utf8) : []
                    let expected = label + bytes + label + bytes
                    #expect(await rig.peer.read(expected.count) == expected)
                    await rig.log.untilDone(2)
                    #expect(rig.log.done == [.done(0, nil), .done(1, nil)])
                }
            }
        }

        /// To a channel of another loop, which must not have what was only lent.
        @Test(arguments: Engine.allCases) func lentBytesGoToAnotherLoop(_ engine: Engine) async throws {
            final class Forwarder: ChannelHandler {
                static let interests: ChannelEvents = [.read]
                private let target: Channel
                init(_ target: Channel) { self.target = target }
                func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { target.writeAndFlush(bytes) }
            }
            try await withGroup(engine, loops: 2) { group in
                let place = Place(engine: engine, network: .unix)
                let (target, sink) = try await group.connection(place)
                // Children of a Unix domain socket go round the loops.
                for _ in 0..<4 {
                    let (channel, source) = try await group.connection(place) { [Forwarder(target)] }
                    let bytes = Pattern(seed: 7).bytes(at: 0, count: 6000)
                    try await blocking { try source.write(bytes) }
                    #expect(try await blocking { try sink.read(bytes.count) } == bytes)
                    channel.close()
                    source.close()
                }
                target.close()
                sink.close()
            }
        }

        private static func file() throws -> FileRegion {
            let scratch = try ScratchFile(0)
            let descriptor = scratch.descriptor(2)
            scratch.put(Array("-file -".utf8), at: 0)
            return try FileRegion(descriptor: descriptor, offset: 1, count: 5)
        }

        private static func expect(_ text: String, _ rig: Rig) async {
            #expect(String(decoding: await rig.peer.read(text.utf8.count), as: UTF8.self) == text)
        }
    }
}
