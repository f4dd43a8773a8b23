import Glibc
import SwiftTransport
import Testing

extension Scenarios {
    /// H5: peers that vanish in the middle of everything. Each connection ends for itself, every completion is told once.
    struct ResetTests {
        /// The peer resets while megabytes are under way in both directions.
        @Test(arguments: Place.all) func aResetInTheMiddleEndsTheConnection(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let writes = 40
                let options = ChannelOption.waterMark(WaterMark(hardLimit: .mebibytes(64)))
                let (channel, peer) = try await group.connection(place, options, .sendBuffer(.kibibytes(32))) {
                    [
                        RecordingHandler(log) {
                            $0.keepsBytes = false
                            $0.onActive = { context in
                                for tag in 0..<writes {
                                    context.write(Buffer([UInt8](repeating: 7, count: 50_000)), tag: UInt64(tag))
                                }
                                context.flush()
                            }
                        }
                    ]
                }
                try await blocking {
                    // Read a little, so that it is the middle; what is left unread makes the close of a Unix socket a reset.
                    _ = try peer.read(10_000)
                    try peer.write([UInt8](repeating: 9, count: 10_000))
                    peer.reset()
                }
                await channel.closed()
                let end = log.value
                let told = end.events.filter { if case .completed = $0 { true } else { false } }
                let successes = told.count { if case .completed(_, nil) = $0 { true } else { false } }
                #expect(told == (0..<writes).map { .completed(UInt64($0), $0 < successes ? nil : .closed) })
                #expect(successes < writes)
                #expect(end.count(of: .error(.connectionLost)) == 1)
                #expect(end.count(of: .inactive) == 1)
                #expect(end.events.suffix(2) == [.inactive, .removed])
            }
        }

        /// A hundred peers come, say something and reset; one that behaves is served all the while.
        @Test(arguments: Engine.allCases) func othersAreNotAffected(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let place = Place(engine: engine, network: .tcp)
                let server = try await group.serve(place) { [EchoHandler()] }
                let correct = try await blocking {
                    let good = try RawSocket.connect(to: server.address)
                    let message = Pattern(seed: 77).bytes(at: 0, count: 3000)
                    for _ in 0..<100 {
                        let bad = try RawSocket.connect(to: server.address)
                        try bad.write(message)
                        bad.reset()
                        guard try RawSocket.exchange(message, count: 1, with: [good]) else { return false }
                    }
                    return true
                }
                #expect(correct)
                try await eventually("only the listener to be left") {
                    await group.loops[0].statistics()?.openEndpoints == 1
                }
                #expect(await group.loops[0].statistics()?.accepts == 101)
            }
        }

        /// A connection that is reset before it is accepted, and one that is closed: the listener survives both.
        @Test(arguments: Engine.allCases) func aListenerSurvivesWhoIsGoneBeforeBeingAccepted(_ engine: Engine)
            async throws
        {
            try await withGroup(engine) { group in
                let server = try await group.serve(Place(engine: engine, network: .tcp)) { [EchoHandler()] }
                try await withLoopHeld(group.loops[0]) {
                    try await blocking {
                        for round in 0..<20 {
                            let peer = try RawSocket.connect(to: server.address)
                            if round % 2 == 0 { peer.reset() } else { peer.close() }
                        }
                    }
                }
                let correct = try await blocking {
                    try RawSocket.exchange([1, 2, 3], count: 10, with: [RawSocket.connect(to: server.address)])
                }
                #expect(correct)
            }
        }
    }
}
