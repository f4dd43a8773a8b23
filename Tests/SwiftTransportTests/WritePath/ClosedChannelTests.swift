import Testing

@testable import SwiftTransport

extension WritePath {
    /// Writing where nothing can be sent.
    @Suite struct Unable {
        /// W6, W14 (netty#2362): a write on a closed channel fails at once and lets its memory go.
        @Test(arguments: WritePath.engines)
        func aClosedChannelRefusesWrites(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                rig.channel.close(.immediate)
                await rig.channel.closed()
                let log = rig.log
                let witness = try await rig.run { channel in
                    let buffer = Buffer(WritePath.bytes(5000))
                    channel.writeAndFlush(buffer, promise: log.promise(1))
                    #expect(log.done == [.done(1, .closed)])
                    return Witness(buffer)
                }
                #expect(witness.isFreed)
                rig.channel.write(Buffer("from elsewhere"), promise: log.promise(2))
                await log.untilDone(2)
                #expect(log.done == [.done(1, .closed), .done(2, .closed)])
                #expect(!rig.channel.isWritable && rig.channel.bytesBeforeUnwritable == 0)
                #expect(rig.channel.bytesBeforeWritable == .max)
            }
        }

        /// W14: before it is connected a channel refuses, with a reason of its own, and keeps nothing.
        @Test(arguments: WritePath.engines)
        func anUnconnectedChannelRefusesWrites(engine: Engine) async throws {
            let file = try ScratchFile(9)
            let region = try FileRegion(path: file.path)
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                let witness = try await rig.run { other in
                    let channel = Channel(eventLoop: other.eventLoop, configuration: ChannelConfiguration())
                    let buffer = Buffer(WritePath.bytes(5000))
                    channel.writeAndFlush(buffer, promise: log.promise(1))
                    channel.write(message: 7, promise: log.promise(2))
                    channel.write(region, promise: log.promise(3))
                    #expect(!channel.isWritable && channel.pendingBytes == 0)
                    return Witness(buffer)
                }
                #expect(witness.isFreed)
                #expect(log.done == (1...3).map { .done($0, .notYetConnected) })
            }
        }

        /// W14: what is queued when the channel closes fails with `.closed`; without an event of writability (Netty: notify
        /// false), because there is nothing left to write to.
        @Test(arguments: WritePath.engines)
        func whatIsQueuedFailsWhenItCloses(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(low: 500, high: 1000)]) { rig in
                let log = rig.log
                let witness = try await rig.run { channel in
                    let buffer = Buffer(WritePath.bytes(5000))
                    for tag in 0..<3 { channel.write(buffer, promise: log.promise(tag)) }
                    channel.close(.immediate)
                    return Witness(buffer)
                }
                await rig.channel.closed()
                #expect(log.done == (0..<3).map { .done($0, .closed) })
                #expect(log.writable == [false])
                #expect(witness.isFreed)
                #expect(log.events.suffix(2) == [.inactive, .note("removed")])
            }
        }

        /// W6: while it drains a channel takes no more, but sends what it has.
        @Test(arguments: WritePath.engines)
        func aDrainingChannelRefusesWrites(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                try await rig.run { channel in
                    channel.write(Buffer("before"), promise: log.promise(0))
                    channel.close(.graceful)
                    channel.write(Buffer("after"), promise: log.promise(1))
                }
                #expect(await rig.peer.readToEnd() == Array("before".utf8))
                await log.untilDone(2)
                #expect(Set(log.done) == [.done(0, nil), .done(1, .closed)])
                rig.peer.close()
            }
        }

        /// Every later refusal carries the first cause.
        @Test(arguments: WritePath.engines)
        func theFirstCauseIsKept(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                rig.peer.reset()
                await rig.channel.closed()
                #expect(rig.log.events.contains(.error(.connectionLost)))
                for _ in 0..<2 {
                    let error = await rig.channel.result(of: Buffer("late"))
                    #expect(error == TransportError(.closed, call: .receive, errno: 104))
                }
            }
        }

        /// The same when the handler that is told of it fails once more.
        @Test(arguments: WritePath.engines)
        func theFirstOfTwoCausesIsKept(engine: Engine) async throws {
            final class Clumsy: ChannelHandler {
                let log: Log
                init(_ log: Log) { self.log = log }
                func errorCaught(_ context: ChannelContext, _ error: any Error) {
                    guard let error = error as? TransportError else { return }
                    log.add(.error(error.code))
                    guard error.code == .connectionLost else { return }
                    for _ in 0..<2 { context.write(Buffer(WritePath.bytes(1500))) }
                }
            }
            let mark = WaterMark(low: 500, high: 1000, hardLimit: 2000)
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, [.waterMark(mark)], handlers: { [Clumsy($0)] }) { rig in
                rig.peer.reset()
                await rig.channel.closed()
                #expect(rig.log.events == [.error(.connectionLost), .error(.outboundQueueFull)])
                let error = await rig.channel.result(of: Buffer("late"))
                #expect(error == TransportError(.closed, call: .receive, errno: 104))
            }
        }

        /// A channel that a handler closes as soon as it is added was never active, so that it cannot become inactive.
        @Test(arguments: WritePath.engines)
        func whatWasNeverActiveIsNeverInactive(engine: Engine) async throws {
            final class Closer: ChannelHandler {
                let log: Log
                init(_ log: Log) { self.log = log }
                func handlerAdded(_ context: ChannelContext) { context.close(.immediate) }
                func channelActive(_ context: ChannelContext) { log.add(.active) }
                func channelInactive(_ context: ChannelContext) { log.add(.inactive) }
                func handlerRemoved(_ context: ChannelContext) { log.add(.note("removed")) }
            }
            try await WritePath.withRig(engine) { rig in
                let log = Log()
                let door = try Door()
                let bootstrap = ClientBootstrap(group: rig.group).handlers { [Closer(log)] }
                _ = try? await bootstrap.connect(to: door.address)
                await log.until(.note("removed"))
                #expect(log.events == [.note("removed")])
            }
        }
    }
}
