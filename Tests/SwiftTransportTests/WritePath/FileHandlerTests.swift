import Testing

@testable import SwiftTransport

extension WritePath {
    /// A part of a file goes through the handlers as every other write does.
    @Suite struct FileHandlers {
        /// What a handler that encrypts would do: nothing gets past it as it is.
        private final class Sealer: ChannelHandler {
            static let interests: ChannelEvents = [.write]
            func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
                context.write(Sealer.seal(Buffer(bytes)), promise: promise)
            }
            func write(_ context: ChannelContext, _ file: FileRegion, promise: consuming WritePromise) {
                do throws(TransportError) {
                    var offset = 0
                    while offset + 10_000 < file.count {
                        context.write(Sealer.seal(try file.contents(offset..<offset + 10_000)))
                        offset += 10_000
                    }
                    context.write(Sealer.seal(try file.contents(offset..<file.count)), promise: promise)
                } catch {
                    promise.complete(error)
                }
            }
            static func seal(_ buffer: Buffer) -> Buffer { Buffer([UInt8](buffer).map { $0 ^ 0x55 }) }
        }

        private final class Refuser: ChannelHandler {
            static let interests: ChannelEvents = [.write]
            func write(_ context: ChannelContext, _ file: FileRegion, promise: consuming WritePromise) {
                promise.complete(TransportError(.unencodableMessage))
            }
        }

        /// From a handler, from the channel on its loop and off it, from a task: always through the handler.
        @Test(arguments: WritePath.engines, ["context", "channel", "elsewhere", "task"])
        func aHandlerMayTransformAFile(engine: Engine, from: String) async throws {
            let file = try ScratchFile(123_456)
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [Sealer(), PassThrough(), Recorder($0)] }) { rig in
                let region = try FileRegion(path: file.path)
                switch from {
                case "context": try await rig.run { $0.recorderContext.writeAndFlush(region, tag: 0) }
                case "channel":
                    try await rig.run { [log = rig.log] in $0.writeAndFlush(region, promise: log.promise(0)) }
                case "elsewhere": rig.channel.writeAndFlush(region, promise: rig.log.promise(0))
                default:
                    async let sent: Void = rig.channel.send(region)
                    _ = await rig.peer.read(file.bytes.count)
                    try await sent
                    rig.log.add(.done(0, nil))
                }
                #expect(await rig.peer.read(file.bytes.count) == file.bytes.map { $0 ^ 0x55 })
                await rig.log.until(.done(0, nil))
            }
        }

        /// Refused by a handler: that write has failed, nothing of the file is sent, and the channel goes on.
        @Test(arguments: WritePath.engines)
        func aHandlerMayRefuseAFile(engine: Engine) async throws {
            let file = try ScratchFile(1000)
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [Refuser(), Recorder($0)] }) { rig in
                let region = try FileRegion(path: file.path)
                rig.channel.writeAndFlush(region, promise: rig.log.promise(0))
                let error = await #expect(throws: TransportError.self) { try await rig.channel.send(region) }
                #expect(error?.code == .unencodableMessage)
                rig.channel.writeAndFlush("after")
                #expect(await rig.peer.read(5) == Array("after".utf8))
                #expect(rig.log.done == [.done(0, .unencodableMessage)])
            }
        }

        /// A handler that knows nothing of files lets them pass, in their turn; one behind the writer does not see them.
        @Test(arguments: WritePath.engines)
        func aHandlerWithoutInterestPassesFilesOn(engine: Engine) async throws {
            let file = try ScratchFile(70_000)
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [PassThrough(), Recorder($0), Refuser()] }) { rig in
                let region = try FileRegion(path: file.path)
                try await rig.run { channel in
                    let context = channel.recorderContext
                    context.write("<")
                    let handle = context.write(region, tag: 1)
                    #expect(channel.cancel(handle))
                    context.write(region, tag: 2)
                    context.writeAndFlush(">")
                }
                #expect(await rig.peer.read(70_002) == Array("<".utf8) + file.bytes + Array(">".utf8))
                await rig.log.untilDone(2)
                #expect(rig.log.done == [.done(1, .cancelled), .done(2, nil)])
            }
        }

        /// What a handler reads of a region: offsets from its start, clamped, and the reason when the file has become shorter.
        @Test func aHandlerReadsAFilesContents() throws {
            let file = try ScratchFile(200_000)
            let region = try FileRegion(descriptor: file.descriptor(), offset: 100, count: 150_000)
            #expect(try [UInt8](region.contents(0..<150_000)) == Array(file.bytes[100..<150_100]))
            #expect(try [UInt8](region.contents(149_990..<200_000)) == Array(file.bytes[150_090..<150_100]))
            #expect(try region.contents(7..<7).isEmpty)
            file.truncate(to: 50_000)
            let error = #expect(throws: TransportError.self) { try region.contents(0..<100_000) }
            #expect(error?.call == .pread && error?.errno == 5 && error?.subject == file.path)
        }
    }
}
