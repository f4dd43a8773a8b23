import SwiftTransport
import Testing
import TransportTesting

/// A handler is tested in a channel of its own, in plain synchronous tests.
@Suite struct TestChannelTests {
    private final class Echo: ChannelHandler {
        var reads: [Int] = []
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
            reads.append(bytes.count)
            context.write(bytes)
        }
        func channelReadComplete(_ context: ChannelContext) { context.flush() }
    }

    @Test(arguments: Engine.allCases) func bytesGoInAndComeOut(engine: Engine) throws {
        let echo = Echo()
        let test = try TestChannel(echo, engine: engine)
        #expect(test.eventLoop.engine == engine)
        try test.peer.send("hello")
        #expect(test.peer.takeBytes() == "hello")
        #expect(test.peer.takeBytes() == "")
        try test.peer.send("", inPiecesOf: 3)
        try test.peer.send("seven b", inPiecesOf: 3)
        #expect(test.peer.takeBytes() == "seven b")
        #expect(echo.reads == [5, 3, 3, 1])
        #expect(try test.finish().isEmpty)
    }

    @Test(arguments: Engine.allCases) func muchMoreThanTheBuffersOfKernelsPasses(engine: Engine) throws {
        let test = try TestChannel(Echo(), engine: engine)
        let bytes = Buffer((0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) })
        for start in stride(from: 0, to: bytes.count, by: 50_000) {
            try test.peer.send(bytes[start..<start + 50_000], inPiecesOf: 7_000)
        }
        #expect(test.peer.takeBytes() == bytes)
        #expect(try test.finish().isEmpty)
    }

    /// Passes everything on, and counts.
    private final class Passing: ChannelHandler {
        var calls: [String] = []
        func handlerAdded(_ context: ChannelContext) { calls.append("added") }
        func channelActive(_ context: ChannelContext) {
            calls.append("active")
            context.fireUserEvent("hello")
        }
        func inputClosed(_ context: ChannelContext) {
            calls.append("input closed")
            context.fireInputClosed()
        }
        func errorCaught(_ context: ChannelContext, _ error: any Error) {
            calls.append("error")
            context.fireErrorCaught(error)
        }
        func shutdownBegan(_ context: ChannelContext) {
            calls.append("shutdown")
            context.fireShutdownBegan()
        }
        func channelInactive(_ context: ChannelContext) { calls.append("inactive") }
        func handlerRemoved(_ context: ChannelContext) { calls.append("removed") }
    }

    @Test func whatTheLastHandlerPassesOnIsTheTests() throws {
        let test = try TestChannel(Passing())
        #expect(test.takeUserEvents() as? [String] == ["hello"])
        try test.peer.send("one")
        try test.peer.send("two")
        #expect(test.takeBytes() == "onetwo")
        #expect(test.takeBytes().isEmpty)
        try test.run { channel in
            _ = channel.pipeline.withContext(of: Passing.self) { $0.fireErrorCaught(CancellationError()) }
        }
        #expect(test.takeErrors().count == 1)
        #expect(try test.finish().isEmpty)
    }

    @Test(arguments: Engine.allCases) func thePeerMayCloseEndOrReset(engine: Engine) throws {
        let closed = Passing()
        let closing = try TestChannel(closed, engine: engine)
        try closing.peer.close()
        #expect(closed.calls == ["added", "active", "input closed", "inactive", "removed"])
        #expect(!closing.channel.isActive)
        #expect(closing.peer.ending == .open)

        let ended = Passing()
        let ending = try TestChannel(ended, options: [.allowHalfClosure(true)], engine: engine)
        try ending.peer.endOutput()
        #expect(ended.calls == ["added", "active", "input closed"])
        ending.channel.writeAndFlush("still here")
        try ending.settle()
        #expect(ending.peer.takeBytes() == "still here")
        #expect(ending.peer.ending == .open)
        try ending.run { $0.close() }
        #expect(ending.peer.ending == .finished)

        let lost = Passing()
        let resetting = try TestChannel(lost, engine: engine)
        try resetting.peer.reset()
        #expect(lost.calls == ["added", "active", "error", "inactive", "removed"])
        #expect((resetting.takeErrors().first as? TransportError)?.code == .connectionLost)
        #expect(throws: TestChannelError.connectionOver) { try resetting.peer.send("more") }
    }

    @Test func thePeerSeesTheEndOfTheChannel() throws {
        let closing = try TestChannel()
        closing.channel.writeAndFlush("bye")
        closing.channel.close()
        try closing.settle()
        #expect(closing.peer.ending == .finished)
        #expect(closing.peer.takeBytes() == "bye")
        let resetting = try TestChannel()
        try resetting.run { $0.close(.reset) }
        #expect(resetting.peer.ending == .reset)
        #expect(throws: TestChannelError.connectionOver) { try resetting.peer.send("more") }
    }

    private final class Deadline: ChannelHandler {
        var fired: [Duration] = []
        func channelActive(_ context: ChannelContext) {
            let start = context.eventLoop.now
            for seconds in [3, 1, 2] {
                context.schedule(after: .seconds(seconds)) { context in
                    self.fired.append(start.duration(to: context.eventLoop.now))
                }
            }
        }
    }

    @Test(arguments: Engine.allCases) func timePassesWhenTheTestSaysSo(engine: Engine) throws {
        let deadline = Deadline()
        let test = try TestChannel(deadline, engine: engine)
        let start = test.eventLoop.now
        #expect(test.elapsed == .zero)
        try test.advance(by: .milliseconds(999))
        #expect(deadline.fired == [])
        try test.advance(by: .milliseconds(1))
        #expect(deadline.fired == [.seconds(1)])
        try test.advance(by: .seconds(86400))
        #expect(deadline.fired == [.seconds(1), .seconds(2), .seconds(3)])
        #expect(test.elapsed == .seconds(86401))
        #expect(start.duration(to: test.eventLoop.now) == test.elapsed)
        #expect(start.duration(to: test.eventLoop.clock.now) == test.elapsed)
    }

    @Test func whatIsScheduledFromOutsideHasTheTestsTime() throws {
        let test = try TestChannel()
        test.eventLoop.schedule(after: .seconds(60)) { [channel = test.channel] in channel.writeAndFlush("a minute\n") }
        try test.advance(by: .milliseconds(59_999))
        #expect(test.peer.takeBytes() == "")
        try test.advance(by: .milliseconds(1))
        #expect(test.peer.takeBytes() == "a minute\n")
    }

    @Test(arguments: Engine.allCases) func aPeerThatDoesNotReadMakesTheChannelUnwritable(engine: Engine) throws {
        let test = try TestChannel(options: [.waterMark(low: 10_000, high: 20_000)], engine: engine)
        try test.peer.stopReading()
        test.channel.writeAndFlush(Buffer([UInt8](repeating: 1, count: 40_000)))
        try test.settle()
        #expect(!test.channel.isWritable)
        #expect(test.takeWritability() == [false])
        #expect(test.channel.pendingBytes > 40_000 - 9_000)
        #expect(test.peer.takeBytes().isEmpty)
        try test.advance(by: .seconds(100))
        try test.peer.startReading()
        #expect(test.takeWritability() == [true])
        #expect(test.peer.takeBytes().count == 40_000)
        #expect(try test.finish().isEmpty)
    }

    @Test func finishingTellsWhatIsLeft() throws {
        let test = try TestChannel(Passing())
        try test.peer.send("in")
        test.channel.writeAndFlush("out")
        try test.run { channel in
            _ = channel.pipeline.withContext(of: Passing.self) { $0.fireErrorCaught(CancellationError()) }
        }
        try test.peer.stopReading()
        test.channel.writeAndFlush(Buffer([UInt8](repeating: 1, count: 40_000)))
        test.channel.setAutomaticReading(false)
        try test.settle()
        try test.peer.send("never read")
        let left = try test.finish()
        #expect(left.bytes == "in")
        #expect(left.sentBytes == "out")
        #expect(left.userEvents.count == 1)
        #expect(left.errors.count == 1)
        #expect(left.pendingBytes > 30_000)
        #expect(left.unreceivedBytes == 10)
        #expect(!left.isEmpty)
    }

    @Test(arguments: Engine.allCases) func nothingIsLeftBehind(engine: Engine) throws {
        weak var handler: Echo?
        weak var channel: Channel?
        for finishes in [true, false] {
            do {
                let echo = Echo()
                handler = echo
                let test = try TestChannel(echo, engine: engine)
                channel = test.channel
                try test.peer.stopReading()
                try test.peer.send("hello")
                if finishes { _ = try test.finish() }
            }
            #expect(handler == nil)
            #expect(channel == nil)
        }
    }

    @Test func misuseIsAnError() throws {
        let test = try TestChannel(Passing())
        try test.run { _ in
            #expect(throws: TestChannelError.inUse) { try test.settle() }
            #expect(throws: TestChannelError.inUse) { _ = try test.finish() }
        }
        _ = try test.finish()
        #expect(throws: TestChannelError.finished) { try test.settle() }
        #expect(throws: TestChannelError.finished) { try test.peer.send("hello") }
        #expect(throws: TestChannelError.finished) { _ = try test.finish() }
        test.channel.writeAndFlush("nobody")
        test.channel.close()
        #expect(TestChannelError.finished.description.contains("make a new one"))
    }

    private final class Restless: ChannelHandler {
        func channelActive(_ context: ChannelContext) { again(context) }
        private func again(_ context: ChannelContext) { context.execute { self.again($0) } }
    }

    @Test func aHandlerThatNeverRestsIsAnError() throws {
        #expect(throws: TestChannelError.endless(turns: 100_000)) { _ = try TestChannel(Restless()) }
    }

    private struct NoHandler: Error {}

    @Test func handlersThatCannotBeMadeAreAnError() throws {
        do {
            _ = try TestChannel { _ in throw NoHandler() }
            Issue.record("a channel without its handlers")
        } catch let error as TransportError {
            #expect(error.underlying is NoHandler)
        }
    }

    @Test func aShutdownIsHeardOf() throws {
        let handler = Passing()
        let test = try TestChannel(handler)
        try test.beginShutdown()
        #expect(handler.calls == ["added", "active", "shutdown"])
        #expect(test.peer.ending == .finished)
        try test.peer.close()
        #expect(handler.calls == ["added", "active", "shutdown", "inactive", "removed"])
        #expect(throws: TestChannelError.finished) { try test.run { _ in } }
        #expect(try test.finish().errors.isEmpty)
    }

    /// Forwards to another test channel: one is used in the middle of the other's turn.
    private final class Forward: ChannelHandler {
        let to: TestChannel
        init(to: TestChannel) { self.to = to }
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
            try? to.peer.send(Buffer(bytes))
        }
    }

    @Test func oneMayBeUsedFromWithinAnother() throws {
        let inner = try TestChannel(Echo())
        let outer = try TestChannel(Forward(to: inner))
        try outer.peer.send("through both")
        #expect(inner.peer.takeBytes() == "through both")
        #expect(try outer.finish().isEmpty)
        #expect(try inner.finish().isEmpty)
    }

    @Test func manyRunBesideEachOther() async throws {
        try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<50 {
                group.addTask {
                    let echo = Echo()
                    let test = try TestChannel(echo, engine: number % 2 == 0 ? .uring : .epoll)
                    for _ in 0..<20 {
                        try test.peer.send("\(number)\n")
                        try test.advance(by: .seconds(number))
                    }
                    #expect(test.elapsed == .seconds(20 * number))
                    let bytes = test.peer.takeBytes().count
                    #expect(try test.finish().isEmpty)
                    return bytes
                }
            }
            var bytes = 0
            for try await count in group { bytes += count }
            #expect(bytes == 20 * (10 * 2 + 40 * 3))
        }
    }

    /// Tasks of the loop run inside the calls of the test.
    @Test func tasksOfTheLoopSleepInTheTestsTime() throws {
        let test = try TestChannel()
        let channel = test.channel
        let task = Task(executorPreference: channel.eventLoop.taskExecutor) {
            try await Task.sleep(for: .seconds(10), clock: channel.eventLoop.clock)
            try await channel.send("ten seconds\n")
        }
        try test.advance(by: .seconds(9))
        #expect(test.peer.takeBytes().isEmpty)
        try test.advance(by: .seconds(1))
        #expect(test.peer.takeBytes() == "ten seconds\n")
        _ = try test.finish()
        task.cancel()
    }
}
