import Synchronization
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// A promise may be handed to a channel of another loop, as its documentation says. Its handler is told on its own loop all
    /// the same: it once was told on the other's thread, which ended in freed memory.
    struct ForeignPromiseTests {
        /// Carries the writes of its channel over another one, promise and all.
        private final class Tunnel: ChannelHandler {
            static let interests: ChannelEvents = [.write, .flush]
            private let carrier: Channel
            init(_ carrier: Channel) { self.carrier = carrier }
            func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
                carrier.write(bytes, promise: promise)
            }
            func flush(_ context: ChannelContext) { carrier.flush() }
        }

        /// Writes with tags, and counts what it hears, and where.
        private final class Tagger: ChannelHandler {
            static let interests: ChannelEvents = [.active]
            struct Told: Sendable {
                var completed: [UInt64] = []
                var progress = 0
                var elsewhere = 0
            }
            private let told: Watched<Told>
            private let size: Int
            private let usesPromise: Bool
            init(_ told: Watched<Told>, size: Int, usesPromise: Bool) {
                self.told = told
                self.size = size
                self.usesPromise = usesPromise
            }

            func channelActive(_ context: ChannelContext) {
                for tag in 0..<UInt64(50) {
                    let buffer = Buffer([UInt8](repeating: UInt8(tag), count: size))
                    if usesPromise {
                        context.write(buffer, promise: .handler(context, tag: tag, progress: true))
                    } else {
                        context.write(buffer, tag: tag)
                    }
                }
                context.flush()
                context.fireChannelActive()
            }
            func writeCompleted(_ context: ChannelContext, tag: UInt64, result: WriteResult) {
                let isHome = context.eventLoop.isCurrent
                told.update {
                    $0.completed.append(tag)
                    if !isHome { $0.elsewhere += 1 }
                }
            }
            func writeProgressed(_ context: ChannelContext, tag: UInt64, progress: WriteProgress) {
                let isHome = context.eventLoop.isCurrent
                told.update {
                    $0.progress += 1
                    if !isHome { $0.elsewhere += 1 }
                }
            }
        }

        @Test(arguments: Engine.allCases, [false, true])
        func theHandlerIsToldOnItsOwnLoop(_ engine: Engine, usesPromise: Bool) async throws {
            try await withGroup(engine) { carriers in
                try await withGroup(engine) { group in
                    let place = Place(engine: engine, network: .tcp)
                    let (carrier, peer) = try await carriers.connection(
                        place, .sendBuffer(.kibibytes(16)), .waterMark(WaterMark(hardLimit: .mebibytes(64))))
                    let told = Watched(Tagger.Told())
                    let size = usesPromise ? 100_000 : 10
                    _ = try await group.connection(place) {
                        [Tunnel(carrier), Tagger(told, size: size, usesPromise: usesPromise)]
                    }
                    let received = try await blocking { try peer.read(50 * size) }
                    #expect(received.count == 50 * size)
                    let end = try await told.wait(for: "all completions") { $0.completed.count == 50 }
                    #expect(end.completed == Array(0..<50))
                    #expect(end.elsewhere == 0)
                    #expect(!usesPromise || end.progress > 0)
                }
            }
        }

        /// The handler's loop has ended meanwhile: it is told once all the same, by one thread at a time.
        @Test(arguments: Engine.allCases)
        func aHandlerWhoseLoopHasEndedIsToldOnce(_ engine: Engine) async throws {
            try await withGroup(engine) { carriers in
                let place = Place(engine: engine, network: .tcp)
                let (carrier, peer) = try await carriers.connection(
                    place, .sendBuffer(.kibibytes(16)), .waterMark(WaterMark(hardLimit: .mebibytes(64))))
                let told = Watched(Tagger.Told())
                try await withGroup(engine) { group in
                    _ = try await group.connection(place) {
                        [Tunnel(carrier), Tagger(told, size: 100_000, usesPromise: true)]
                    }
                }
                #expect(told.value.completed.count < 50)
                _ = try await blocking { try peer.read(50 * 100_000) }
                let end = try await told.wait(for: "all completions") { $0.completed.count == 50 }
                #expect(end.completed.sorted() == Array(0..<50))
            }
        }
    }
}

extension WritePath {
    /// Promises joined in whatever direction: a chain of very many once overflowed the stack.
    @Suite struct JoinedPromises {
        @Test func promisesMayJoinInAnyDirection() {
            let told = Watched([Int]())
            let count = 200_000
            var older = WritePromise.callback { _ in told.update { $0.append(0) } }
            for number in 1...count {
                var newer = WritePromise.callback { _ in told.update { $0.append(number) } }
                newer.join(older)
                older = newer
            }
            older.complete(nil)
            #expect(told.value == (0...count).reversed())
        }

        @Test func groupsOfEachSizeAreToldOnce() {
            let told = Watched([Int]())
            func group(_ numbers: Range<Int>) -> WritePromise {
                var promise = WritePromise.none
                for number in numbers { promise.join(.callback { _ in told.update { $0.append(number) } }) }
                return promise
            }
            var all = group(0..<3)
            all.join(group(3..<10))
            all.join(group(10..<11))
            all.join(group(11..<12))
            var last = group(12..<13)
            last.join(group(13..<30))
            all.join(last)
            all.complete(nil)
            #expect(told.value == Array(0..<30))
        }
    }
}
