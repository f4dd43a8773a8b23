import Testing

@testable import SwiftTransport

extension WritePath {
    /// Taking a write back.
    @Suite struct Cancel {
        /// W12, P1 (netty#2209; SocketCancelWriteTest): of a, b, c, d, e with a and d cancelled the peer gets bce.
        @Test(arguments: WritePath.engines)
        func cancelledIsNotSent(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                try await rig.run { channel in
                    let handles = ["a", "b", "c", "d", "e"].enumerated().map { tag, text in
                        channel.recorderContext.write(Buffer(text), promise: log.promise(tag))
                    }
                    #expect(channel.cancel(handles[0]))
                    #expect(channel.cancel(handles[3]))
                    #expect(!channel.cancel(handles[3]))
                    #expect(log.done == [.done(0, .cancelled), .done(3, .cancelled)])
                    channel.flush()
                    // P1: after the flush it is too late.
                    #expect(handles.allSatisfy { !channel.cancel($0) })
                }
                #expect(await rig.peer.read(3) == Array("bce".utf8))
                await log.untilDone(5)
                #expect(log.done.suffix(3) == [.done(1, nil), .done(2, nil), .done(4, nil)])
                #expect(rig.channel.pendingBytes == 0)
            }
        }

        /// W12: memory and bytes come back at once, and the handlers are told at once.
        @Test(arguments: WritePath.engines)
        func bytesAreCountedNoMore(engine: Engine) async throws {
            try await WritePath.withRig(engine, [.waterMark(low: 500, high: 1000)]) { rig in
                let log = rig.log
                let witness = try await rig.run { channel in
                    channel.write(Buffer("x"))
                    let buffer = Buffer(WritePath.bytes(5000))
                    let handle = channel.recorderContext.write(buffer, promise: log.promise(0))
                    #expect(log.events.last == .writable(false))
                    #expect(channel.cancel(handle))
                    #expect(log.events.suffix(2) == [.done(0, .cancelled), .writable(true)])
                    #expect(channel.pendingBytes == WritePath.pending(1, writes: 2))
                    return Witness(buffer)
                }
                #expect(witness.isFreed)
            }
        }

        /// W12: a queue of nothing but cancelled writes: the flush sends nothing, and the queue is empty afterwards.
        @Test(arguments: WritePath.engines)
        func allMayBeCancelled(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let before = try await rig.sends()
                try await rig.run { channel in
                    let handles = (0..<40).map { channel.recorderContext.write(Buffer(WritePath.bytes($0 * 100))) }
                    for handle in handles { #expect(channel.cancel(handle)) }
                    channel.flush()
                }
                try await rig.until { $0.pendingBytes == 0 && $0.own.queue == nil }
                #expect(try await rig.sends() == before)
                try await rig.channel.send(Buffer("next"))
                #expect(await rig.peer.read(4) == Array("next".utf8))
            }
        }

        /// W12: a completion told of a cancel may write, flush and cancel in turn (P5).
        @Test(arguments: WritePath.engines)
        func aCancelledWriteMayCancelOthers(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                try await rig.run { channel in
                    let context = channel.recorderContext
                    let second = context.write(Buffer("second"), promise: log.promise(2))
                    let first = context.write(
                        Buffer("first"),
                        promise: .callback { _ in
                            #expect(channel.cancel(second))
                            channel.writeAndFlush(Buffer("instead"), promise: log.promise(3))
                        })
                    channel.cancel(first)
                }
                #expect(await rig.peer.read(7) == Array("instead".utf8))
                await log.untilDone(2)
                #expect(log.done == [.done(2, .cancelled), .done(3, nil)])
            }
        }

        /// P1: the handle of a write that is over does nothing, also when others have been queued since.
        @Test(arguments: WritePath.engines)
        func aStaleHandleCancelsNothing(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let log = rig.log
                let handle = try await rig.run { channel in
                    let handle = channel.recorderContext.write(Buffer("a"), promise: log.promise(0))
                    channel.flush()
                    return handle
                }
                await log.untilDone(1)
                try await rig.run { channel in
                    channel.write(Buffer("b"), promise: log.promise(1))
                    #expect(!channel.cancel(handle))
                    #expect(!channel.cancel(.stale))
                    channel.flush()
                }
                #expect(await rig.peer.read(2) == Array("ab".utf8))
                await log.untilDone(2)
                #expect(log.done == [.done(0, nil), .done(1, nil)])
            }
        }

        /// Sends each write with something of its own behind it, whose promise is made for it.
        private final class Trailer: ChannelHandler {
            static let interests: ChannelEvents = [.write]
            let promise: (ChannelContext) -> WritePromise
            init(_ promise: @escaping (ChannelContext) -> WritePromise) { self.promise = promise }
            func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
                context.write(bytes, promise: promise)
                context.write(Buffer("!"), promise: self.promise(context.channel.recorderContext))
            }
        }

        /// P1: the newest write may be one of a handler on the way: a handle never takes that one back, however much its promise
        /// looks like the caller's.
        @Test(arguments: WritePath.engines, ["nobody", "closure", "tag", "kind"])
        func aHandleCancelsNoOthersWrite(engine: Engine, same: String) async throws {
            let handlers: @Sendable (Log) -> [any ChannelHandler] = { log in
                let trailer = Trailer { context in
                    switch same {
                    case "nobody": .none
                    case "closure": log.promise(2)
                    case "tag": .handler(context, tag: 2)
                    default: .handler(context, tag: 1)
                    }
                }
                return [trailer, Recorder(log)]
            }
            try await WritePath.withRig(engine, handlers: handlers) { rig in
                let log = rig.log
                try await rig.run { channel in
                    let context = channel.recorderContext
                    let handle =
                        switch same {
                        case "nobody": context.write(Buffer("text"))
                        case "closure": context.write(Buffer("text"), promise: log.promise(1))
                        case "tag": context.write(Buffer("text"), promise: .handler(context, tag: 1))
                        default: context.write(Buffer("text"), tag: 1)
                        }
                    #expect(!channel.cancel(handle))
                    channel.flush()
                }
                #expect(await rig.peer.read(5) == Array("text!".utf8))
            }
        }

        /// P1: a handle says which channel it is of: the same write of another channel stays.
        @Test(arguments: WritePath.engines)
        func aHandleOfAnotherChannelCancelsNothing(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let other = try await Rig.open(rig.group)
                try await rig.run { channel in
                    let mine = channel.recorderContext.write(Buffer("mine"))
                    let theirs = other.channel.recorderContext.write(Buffer("theirs"))
                    #expect(mine != theirs)
                    #expect(!channel.cancel(theirs) && !other.channel.cancel(mine))
                    #expect(channel.cancel(mine) && other.channel.cancel(theirs))
                }
            }
        }

        /// Eight bytes; the numbers start anew inside the channel's mark when they are used up.
        @Test func handlesMayWrapAround() {
            #expect(MemoryLayout<WriteHandle>.size == 8)
            let (first, other) = (WriteHandle.first(), WriteHandle.first())
            let last = first.advanced(by: -1)
            #expect(last.distance(to: first) == 1 && last.advanced(by: 1) == first)
            #expect(first.distance(to: last) == 1 << 40 - 1)
            #expect(first.distance(to: other) == nil && last.distance(to: other) == nil)
            #expect(first.distance(to: .stale) == nil)
        }
    }
}
