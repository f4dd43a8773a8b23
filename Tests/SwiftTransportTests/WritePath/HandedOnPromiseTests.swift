import Testing

@testable import SwiftTransport

extension WritePath {
    /// Promises in the hands of handlers: handed on, joined, dropped. A promise cannot be copied, so that it cannot be
    /// completed twice; that is the compiler's to see.
    @Suite struct HandedOnPromises {
        /// Makes one write of all that came since the last flush.
        private final class Batcher: ChannelHandler {
            static let interests: ChannelEvents = [.write, .flush]
            private var batch: [UInt8] = []
            private var promise = WritePromise.none

            func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
                bytes.withUnsafeBytes { batch += $0 }
                self.promise.join(promise)
            }
            func flush(_ context: ChannelContext) {
                var promise = WritePromise.none
                swap(&promise, &self.promise)
                context.write(Buffer(batch), promise: promise)
                batch = []
                context.flush()
            }
        }

        /// Lets go of every promise but those of writes that begin with "!".
        private final class Dropper: ChannelHandler {
            static let interests: ChannelEvents = [.write]
            func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
                if String(bytes).hasPrefix("!") { context.write(bytes, promise: promise) }
            }
            func write(_ context: ChannelContext, message: any Sendable, promise: consuming WritePromise) {}
        }

        /// P5: all that were joined are told once, in the order of joining, whatever kinds they are.
        @Test(arguments: WritePath.engines)
        func joinedPromisesAreToldOnce(engine: Engine) async throws {
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [Batcher(), Recorder($0)] }) { rig in
                let log = rig.log
                try await rig.run { channel in
                    let context = channel.recorderContext
                    context.write(Buffer("a"), tag: 0)
                    context.write(Buffer("b"))
                    context.write(Buffer("c"), promise: log.progressPromise(1))
                    context.write(Buffer("d"), promise: .handler(context, tag: 2, progress: true))
                    #expect(log.done.isEmpty)
                    context.flush()
                }
                #expect(await rig.peer.read(4) == Array("abcd".utf8))
                await log.untilDone(3)
                #expect(log.done == (0...2).map { .done($0, nil) })
                rig.channel.write(Buffer("e"), promise: log.promise(3))
                rig.channel.write(Buffer("f"), promise: log.promise(4))
                rig.channel.close(.immediate)
                await rig.channel.closed()
                // The handler has gone, and with it what it still held.
                await log.untilDone(5)
                #expect(log.done.suffix(2) == [.done(3, .promiseDropped), .done(4, .promiseDropped)])
            }
        }

        /// P5: lists may be joined too, and very many promises do not need a deep stack.
        @Test func manyPromisesMayBeJoined() {
            let log = Log()
            var left = WritePromise.none
            var right = WritePromise.none
            for tag in 0..<100_000 { left.join(log.promise(tag)) }
            for tag in 100_000..<100_010 { right.join(log.promise(tag)) }
            right.join(.none)
            left.join(right)
            left.complete(TransportError(.cancelled))
            #expect(log.done == (0..<100_010).map { .done($0, .cancelled) })
        }

        /// Joined with nobody a promise stays what it is: its progress is still its own.
        @Test func joiningNobodyChangesNothing() {
            let log = Log()
            var left = log.progressPromise(0)
            left.join(.none)
            var right = WritePromise.none
            right.join(log.progressPromise(1))
            for completion in [left.take(), right.take()] {
                #expect(completion.wantsProgress)
                if case .closure = completion {} else { Issue.record("\(completion)") }
                completion.complete(nil)
            }
            #expect(log.done == [.done(0, nil), .done(1, nil)])
        }

        /// P5: a handler that forgets a promise: whoever waits is told so, instead of waiting for ever.
        @Test(arguments: WritePath.engines)
        func aDroppedPromiseIsTold(engine: Engine) async throws {
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, handlers: { [Dropper(), Recorder($0)] }) { rig in
                let log = rig.log
                try await rig.run { channel in
                    let context = channel.recorderContext
                    context.write(Buffer("callback"), promise: log.promise(0))
                    context.write(Buffer("tag"), tag: 1)
                    context.write(message: 5, promise: log.promise(2))
                    context.write(Buffer("nobody"))
                    context.write(Buffer("!sent"), tag: 3)
                    #expect(log.done == (0...2).map { .done($0, .promiseDropped) })
                }
                #expect(await rig.channel.result(of: Buffer("task"))?.code == .promiseDropped)
                #expect(await rig.peer.read(5) == Array("!sent".utf8))
                rig.channel.write(Buffer("heartbeat"), promise: .closeOnFailure(rig.channel))
                await rig.channel.closed()
                #expect(log.done.count == 4)
            }
        }

        /// A promise that never got as far as a channel. A handler is told on its loop all the same.
        @Test(arguments: WritePath.engines)
        func aPromiseDroppedElsewhereIsTold(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let (log, loop) = (rig.log, rig.loop)
                let context = try await rig.run { channel in
                    channel.recorder.onCompleted = { _, _ in
                        log.add(.note(loop.isCurrent ? "on its loop" : "elsewhere"))
                    }
                    return Unchecked(channel.recorderContext)
                }
                do {
                    _ = log.promise(0)
                    var several = WritePromise.handler(context.value, tag: 1)
                    several.join(.handler(context.value, tag: 2))
                }
                await log.until { $0.count { $0 == .note("on its loop") } == 2 }
                #expect(log.done == (0...2).map { .done($0, .promiseDropped) })
                #expect(!log.events.contains(.note("elsewhere")))
            }
        }

        private struct Unchecked<Value>: @unchecked Sendable {
            let value: Value
            init(_ value: Value) { self.value = value }
        }
    }
}
