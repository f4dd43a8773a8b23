import SwiftTransport
import Testing

extension Scenarios {
    /// Switching reading off and on slows the peer down and loses nothing.
    struct ReadingTests {
        @Test(arguments: Place.all) func switchingOffAndOnLosesNothing(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let size = 2 << 20
                let log = Watched(Recording())
                let (_, peer) = try await group.connection(place) {
                    [
                        RecordingHandler(log) {
                            // Off after each piece, on again a turn later; on and off within one turn now and then.
                            $0.onRead = { context, bytes in
                                let channel = context.channel
                                channel.setAutomaticReading(false)
                                if bytes.count % 3 == 0 {
                                    channel.setAutomaticReading(true)
                                    channel.setAutomaticReading(false)
                                }
                                context.eventLoop.execute { channel.setAutomaticReading(true) }
                            }
                        }
                    ]
                }
                try await blocking {
                    var sizes = SeededGenerator(seed: 6)
                    var sent = 0
                    while sent < size {
                        let count = min(size - sent, sizes.logUniform(1, 60_000))
                        try peer.write(Pattern(seed: 6).bytes(at: sent, count: count))
                        sent += count
                    }
                    peer.close()
                }
                let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                #expect(end.bytes.count == size)
                #expect(end.bytes.withUnsafeBytes { Pattern(seed: 6).matches($0, at: 0) })
                #expect(end.rounds == [.added, .active, .read, .readComplete, .inputClosed, .inactive, .removed])
            }
        }

        /// Switched off before the first byte: neither bytes nor the end are told until it is on; then both, in their order.
        @Test(arguments: Place.all) func whileItIsOffNothingIsTold(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(place) {
                    [RecordingHandler(log) { $0.onActive = { $0.channel.setAutomaticReading(false) } }]
                }
                try await blocking {
                    try peer.write("waits")
                    peer.close()
                }
                for _ in 0..<20 { await group.settle() }
                #expect(log.value.events == [.added, .active])
                channel.setAutomaticReading(true)
                let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                #expect(end.rounds == [.added, .active, .read, .readComplete, .inputClosed, .inactive, .removed])
                #expect(end.text == "waits")
            }
        }

        /// Switched off by the first piece of a turn that has more, the end of stream among it: the rest is kept in its order.
        @Test(arguments: Place.all) func whatTheTurnHasLeftIsKept(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(place) {
                    [RecordingHandler(log) { $0.onRead = { context, _ in context.channel.setAutomaticReading(false) } }]
                }
                // More than a chunk, so that it takes several reads.
                let sent = Pattern(seed: 23).bytes(at: 0, count: 150_000)
                try await withLoopHeld(group.loops[0]) {
                    try await blocking {
                        try peer.write(sent)
                        peer.close()
                    }
                }
                try await log.wait(for: "the first piece") { $0.events.last == .readComplete }
                for _ in 0..<20 { await group.settle() }
                let first = log.value
                #expect(first.events == [.added, .active, .read, .readComplete])
                #expect(first.bytes.count < sent.count)
                let end = try await channel.switchReadingOn(untilItIsRemoved: log)
                #expect(end.bytes == sent)
                #expect(end.rounds == [.added, .active, .read, .readComplete, .inputClosed, .inactive, .removed])
            }
        }

        /// A reset is told once by the kernel: behind what is kept it is still a reset, and not the end of stream.
        @Test(arguments: Engine.allCases) func aResetStaysBehindWhatIsKept(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .tcp)) {
                    [
                        RecordingHandler(log) {
                            $0.onRead = { context, _ in
                                if log.value.bytes.count > 50_000 { context.channel.setAutomaticReading(false) }
                            }
                        }
                    ]
                }
                // The second half does not fit the chunk that the first lies in, so that it takes several reads.
                let sent = Pattern(seed: 29).bytes(at: 0, count: 100_000)
                try await blocking { try peer.write([UInt8](sent[..<50_000])) }
                try await log.wait(for: "the first half") {
                    $0.bytes.count == 50_000 && $0.events.last == .readComplete
                }
                try await withLoopHeld(group.loops[0]) {
                    try await blocking {
                        try peer.write([UInt8](sent[50_000...]))
                        peer.reset()
                    }
                }
                let end = try await channel.switchReadingOn(untilItIsRemoved: log)
                #expect(sent.starts(with: end.bytes))
                let reset = Event.error(.connectionLost)
                #expect(end.rounds == [.added, .active, .read, .readComplete, reset, .inactive, .removed])
            }
        }

        /// A close does not wait for somebody to switch reading on.
        @Test(arguments: Place.all) func aCloseDoesNotWaitForReading(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(place) {
                    [RecordingHandler(log) { $0.onActive = { $0.channel.setAutomaticReading(false) } }]
                }
                try await blocking { try peer.write("unread") }
                channel.close(.drain(within: .seconds(600)))
                let received = try await blocking {
                    let all = peer.readToEnd()
                    peer.close()
                    return all
                }
                #expect(received.error == 0)
                let end = try await log.wait(for: "the end") { $0.events.last == .removed }
                #expect(end.events == [.added, .active, .inactive, .removed])
            }
        }

        /// A peer that does not read what it asks for is not read either: nothing piles up, and nothing is refused.
        ///
        /// io_uring hands over in one turn what a connection has received, up to all lent chunks (2 MiB), reading switched off
        /// or not. Echoed, that would be more than the hard limit: what comes after the switch is held back.
        @Test(arguments: Place.all) func backPressureStopsAPeerThatDoesNotRead(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let server = try await group.serve(place) { [EchoHandler(), BackPressureHandler()] }
                let peer = try await blocking { try RawSocket.connect(to: server.address) }
                let channel = try await server.accepted.wait(for: "a connection") { !$0.isEmpty }[0]
                // Everything the kernel will take, in both directions, and then no more.
                let size = 24 << 20
                startThread {
                    var offset = 0
                    while offset < size {
                        guard (try? peer.write(Pattern(seed: 31).bytes(at: offset, count: 1 << 16))) != nil else {
                            return
                        }
                        offset += 1 << 16
                    }
                }
                try await eventually("the channel to be full") { !channel.isWritable }
                #expect(channel.pendingBytes < (1 << 20))
                let correct = try await blocking {
                    var received = 0
                    while received < size {
                        let some = try peer.readSome(upTo: 1 << 20)
                        if some.isEmpty || !some.withUnsafeBytes({ Pattern(seed: 31).matches($0, at: received) }) {
                            return false
                        }
                        received += some.count
                    }
                    return true
                }
                let refused = await group.loops[0].statistics()?.refusedWrites
                #expect(correct)
                #expect(refused == 0)
            }
        }
    }
}

extension Channel {
    /// For handlers that switch reading off with each piece.
    fileprivate func switchReadingOn(untilItIsRemoved log: Watched<Recording>) async throws -> Recording {
        var seen = log.value
        while seen.events.last != .removed {
            setAutomaticReading(true)
            seen = try await log.wait(for: "the next piece, or the end") { [count = seen.events.count] in
                $0.events.count > count
            }
        }
        return seen
    }
}
