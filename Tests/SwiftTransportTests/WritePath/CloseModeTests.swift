import Glibc
import SwiftTransport
import Testing

extension Scenarios {
    /// What each way of closing does to what is queued. netty#17238: memory the kernel reads is not let go
    /// before the kernel says so, and every completion is told exactly once.
    struct CloseModeTests {
        static let piece = 32 * 1024
        static let writes = 64

        /// A channel with 2 MiB queued that its peer does not read yet, a completion for each write.
        private func loaded(
            _ group: EventLoopGroup, _ place: Place
        ) async throws -> (channel: Channel, peer: RawSocket, log: Watched<Recording>) {
            let log = Watched(Recording())
            let mark = WaterMark(hardLimit: .mebibytes(64))
            let (channel, peer) = try await group.connection(
                place, .waterMark(mark), .sendBuffer(.kibibytes(32)), peerReceiveBuffer: 32 * 1024
            ) {
                [
                    RecordingHandler(log) {
                        $0.onActive = { context in
                            for tag in 0..<Self.writes {
                                let bytes = Pattern(seed: 13).bytes(at: tag * Self.piece, count: Self.piece)
                                context.write(Buffer(bytes), tag: UInt64(tag))
                            }
                            context.flush()
                        }
                    }
                ]
            }
            // Wait until the kernel has had its share.
            try await eventually("the first send") { (await group.loops[0].statistics()?.sends ?? 0) > 0 }
            #expect(channel.pendingBytes > 0)
            return (channel, peer, log)
        }

        /// What the completions said: how many succeeded, from the first on, and that the rest failed with `code`.
        private func outcome(_ recording: Recording, _ code: TransportError.Code) -> Int {
            let told = recording.events.filter { if case .completed = $0 { true } else { false } }
            let successes = told.count { if case .completed(_, nil) = $0 { true } else { false } }
            let expected: [Event] = (0..<Self.writes).map { .completed(UInt64($0), $0 < successes ? nil : code) }
            #expect(told == expected)
            return successes
        }

        @Test(arguments: Place.all) func gracefulDrainsALargeQueueToASlowReader(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let (channel, peer, log) = try await loaded(group, place)
                channel.close(.drain(within: .seconds(60)))
                let received = try await blocking {
                    var all: [UInt8] = []
                    while true {
                        let some = try peer.readSome(upTo: 5000)
                        if some.isEmpty { return all }
                        all += some
                    }
                }
                #expect(received.count == Self.writes * Self.piece)
                #expect(received.withUnsafeBytes { Pattern(seed: 13).matches($0, at: 0) })
                // It waits for the peer's end of stream: so far it is only draining.
                #expect(log.value.count(of: .inactive) == 0)
                peer.close()
                await channel.closed()
                #expect(outcome(log.value, .closed) == Self.writes)
                #expect(log.value.events.suffix(2) == [.inactive, .removed])
            }
        }

        /// The peer must not take a part for the whole: it gets a reset, where there is such a thing.
        @Test(arguments: Place.all) func immediateFailsWhatIsQueued(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let (channel, peer, log) = try await loaded(group, place)
                channel.close(.immediate)
                await channel.closed()
                let successes = outcome(log.value, .closed)
                #expect(successes < Self.writes)
                #expect(log.value.events.suffix(2) == [.inactive, .removed])
                #expect(channel.pendingBytes == 0)
                let received = try await blocking { peer.readToEnd() }
                #expect(received.error == (place.network == .tcp ? ECONNRESET : 0))
                if place.network == .unix { #expect(received.bytes.count >= successes * Self.piece) }
                #expect(received.bytes.count < (successes + 1) * Self.piece)
                #expect(received.bytes.withUnsafeBytes { Pattern(seed: 13).matches($0, at: 0) })
            }
        }

        /// Closing with bytes of the peer unread would be a reset, and destroy what the kernel had accepted.
        @Test(arguments: Place.all) func anImmediateCloseWithReadingOffDeliversWhatWasAccepted(_ place: Place)
            async throws
        {
            try await withGroup(place.engine) { group in
                let (channel, peer) = try await group.connection(
                    place, .sendBuffer(.mebibytes(1)), peerReceiveBuffer: 16 * 1024)
                channel.setAutomaticReading(false)
                try await blocking { try peer.write([UInt8](repeating: 1, count: 100)) }
                // As much as the kernel takes without the peer's help; a Unix socket does not inherit the buffer.
                let bytes = Pattern(seed: 14).bytes(at: 0, count: place.network == .tcp ? 300_000 : 100_000)
                try await channel.send(Buffer(bytes))
                channel.close(.immediate)
                await channel.closed()
                let received = try await blocking { peer.readToEnd() }
                #expect(received.error == 0)
                #expect(received.bytes.count == bytes.count)
                #expect(received.bytes.withUnsafeBytes { Pattern(seed: 14).matches($0, at: 0) })
            }
        }

        /// Only TCP has resets.
        @Test(arguments: Engine.allCases) func aResetIsSeenByThePeer(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let (channel, peer, log) = try await loaded(group, Place(engine: engine, network: .tcp))
                channel.close(.reset)
                await channel.closed()
                #expect(outcome(log.value, .closed) < Self.writes)
                let received = try await blocking { peer.readToEnd() }
                #expect(received.error == ECONNRESET)
            }
        }

        @Test(arguments: Place.all) func aDrainIsCutOffWhenItsTimeIsOver(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let (channel, peer, log) = try await loaded(group, place)
                channel.close(.drain(within: .milliseconds(20)))
                await channel.closed()
                #expect(outcome(log.value, .closed) < Self.writes)
                #expect(!channel.isActive)
                _ = try await blocking { peer.readToEnd() }
            }
        }

        @Test(arguments: Place.all, [CloseMode.immediate, .reset]) func aHarderCloseCutsADrainShort(
            _ place: Place, _ mode: CloseMode
        ) async throws {
            try await withGroup(place.engine) { group in
                let (channel, peer, log) = try await loaded(group, place)
                channel.close(.drain(within: .seconds(600)))
                channel.close(mode)
                channel.close(.graceful)
                await channel.closed()
                #expect(outcome(log.value, .closed) < Self.writes)
                #expect(log.value.count(of: .inactive) == 1)
                _ = try await blocking { peer.readToEnd() }
            }
        }

        /// W13: a close from within a completion does not overtake the walk it comes from.
        @Test(arguments: Place.all, [CloseMode.graceful, .immediate, .reset]) func aCompletionMayClose(
            _ place: Place, _ mode: CloseMode
        ) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(place) {
                    [
                        RecordingHandler(log) {
                            $0.onActive = { context in
                                for tag in 0..<8 { context.write(Buffer("write \(tag)"), tag: UInt64(tag)) }
                                context.flush()
                            }
                            $0.onCompleted = { context, tag, _ in
                                guard tag == 3 else { return }
                                context.close(mode)
                                context.write(Buffer("too late"), tag: 99)
                            }
                        }
                    ]
                }
                // All eight left in one send, so all eight are with the kernel when the fourth is told.
                let received = try await blocking { peer.readToEnd() }
                peer.close()
                await channel.closed()
                let told = log.value.events.filter { if case .completed = $0 { true } else { false } }
                let expected: [Event] =
                    (0...3).map { .completed($0, nil) } + [.completed(99, .closed)]
                    + (4...7).map { .completed($0, nil) }
                #expect(told == expected)
                if mode != .reset {
                    #expect(received.bytes == [UInt8]((0..<8).map { "write \($0)" }.joined().utf8))
                    #expect(received.error == 0)
                }
            }
        }

        /// 20,000 writes, each made by the completion of the one before: no recursion, no lost one.
        @Test(arguments: Place.all) func aCompletionMayWrite(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let writes: UInt64 = 20_000
                let log = Watched(Recording())
                let (_, peer) = try await group.connection(place) {
                    [
                        RecordingHandler {
                            let write: (ChannelContext, UInt64) -> Void = { context, tag in
                                context.write(Buffer([UInt8(truncatingIfNeeded: tag)]), tag: tag)
                                context.flush()
                            }
                            $0.onActive = { write($0, 0) }
                            $0.onCompleted = { context, tag, result in
                                if result != nil || tag + 1 == writes {
                                    log.update { $0.events.append(.completed(tag, result?.code)) }
                                    context.close()
                                } else {
                                    write(context, tag + 1)
                                }
                            }
                        }
                    ]
                }
                let received = try await blocking { peer.readToEnd() }
                #expect(received.bytes == (0..<writes).map { UInt8(truncatingIfNeeded: $0) })
                #expect(log.value.events == [.completed(writes - 1, nil)])
            }
        }
    }
}
