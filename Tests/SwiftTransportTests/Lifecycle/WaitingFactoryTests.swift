import Glibc
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// What makes a channel's handlers may wait. Until it has finished the channel is not active and nothing is read.
    struct WaitingFactoryTests {
        private struct Given: Error {}

        /// Waits for `gate`, and says where it runs.
        private static func wait(_ gate: Watched<Bool>, _ channel: Channel, _ log: Watched<Recording>) async throws {
            let note: @Sendable (String) -> Void = { text in
                let isHome = channel.isHere
                let isActive = channel.isActive
                log.update { $0.events.append(.note("\(text) \(isHome) \(isActive)")) }
            }
            note("begin")
            try await gate.wait(for: "the gate") { $0 }
            note("end")
        }

        /// For ever, if it is not cancelled.
        private static func waitInVain(_ channel: Channel, _ log: Watched<Recording>) async throws {
            log.update { $0.events.append(.note("begin")) }
            do {
                try await Task.sleep(for: .seconds(3600), clock: channel.eventLoop.clock)
            } catch {
                log.update { $0.events.append(.note("cancelled")) }
                throw error
            }
        }

        enum Peer: CaseIterable, Sendable { case stays, leaves, resets }

        /// What the peer sends meanwhile waits, whatever it does then.
        @Test(arguments: Place.all, Peer.allCases) func nothingIsLostMeanwhile(_ place: Place, _ does: Peer)
            async throws
        {
            try await withGroup(place.engine) { group in
                let gate = Watched(false)
                let log = Watched(Recording())
                let server = try await ServerBootstrap(group: group).childHandlers { channel in
                    try await Self.wait(gate, channel, log)
                    return [RecordingHandler(log), EchoHandler()]
                }.bind(to: place.freshAddress())
                let peer = try await blocking { try RawSocket.connect(to: server.localAddress) }
                try await log.wait(for: "the maker") { !$0.events.isEmpty }
                try await blocking { try peer.write("early") }
                switch does {
                case .stays: break
                case .leaves: peer.shutdownOutput()
                case .resets: peer.reset()
                }
                for _ in 0..<3 { await group.settle() }
                #expect(log.value.events == [.note("begin true false")])
                gate.update { $0 = true }
                if does == .resets, place.network == .tcp {
                    // A reset destroys what was not read.
                    let seen = try await log.wait(for: "the end") { $0.events.last == .removed }
                    #expect(
                        seen.events.starts(with: [.note("begin true false"), .note("end true false"), .added, .active]))
                    #expect(seen.events.contains(.error(.connectionLost)))
                } else {
                    let seen = try await log.wait(for: "the bytes") { $0.text == "early" }
                    #expect(
                        seen.rounds.starts(
                            with: [.note("begin true false"), .note("end true false"), .added, .active, .read]))
                    if does != .resets {
                        #expect(try await blocking { try peer.read(5) } == Array("early".utf8))
                    }
                }
                peer.close()
                try await eventually("only the listener to be left") {
                    await group.loops[0].statistics()?.openEndpoints == 1
                }
                #expect(log.value.count(of: .removed) == 1)
            }
        }

        /// The connection is reset, the error told, and the next one accepted.
        @Test(arguments: Place.all) func mayThrow(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let errors = Watched<[TransportError]>([])
                let calls = Watched(0)
                let server = try await ServerBootstrap(group: group)
                    .onAcceptError { error in errors.update { $0.append(error) } }
                    .childHandlers { _ in
                        calls.update { $0 += 1 }
                        await Task.yield()
                        if calls.value == 1 { throw Given() }
                        return [EchoHandler()]
                    }.bind(to: place.freshAddress())
                let end = try await blocking {
                    let peer = try RawSocket.connect(to: server.localAddress)
                    defer { peer.close() }
                    return peer.readToEnd()
                }
                #expect(end.bytes == [] && end.error == (place.network == .tcp ? ECONNRESET : 0))
                try await blocking {
                    let peer = try RawSocket.connect(to: server.localAddress)
                    try peer.write("echo")
                    #expect(try peer.read(4) == Array("echo".utf8))
                    peer.close()
                }
                let told = try await errors.wait(for: "the error") { $0.count == 1 }
                #expect(told[0].code == .handlerFailed && told[0].underlying is Given && told[0].call == .accept)
                #expect(told[0].subject == server.localAddress.description)
                try await eventually("only the listener to be left") {
                    await group.loops[0].statistics()?.openEndpoints == 1
                }
            }
        }

        enum End: CaseIterable, Sendable { case closesItself, isClosed, serverShutsDown, loopShutsDown }

        /// However the channel ends: the maker is cancelled, nobody is told of an error, and what it still makes has no effect.
        @Test(arguments: Place.all, End.allCases) func aChannelThatClosesMeanwhile(_ place: Place, _ end: End)
            async throws
        {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let channels = Watched<[Channel]>([])
                let errors = Watched<[TransportError]>([])
                let server = try await ServerBootstrap(group: group)
                    .onAcceptError { error in errors.update { $0.append(error) } }
                    .childHandlers { channel in
                        channels.update { $0.append(channel) }
                        if end == .closesItself { channel.close() }
                        try? await Self.waitInVain(channel, log)
                        return [RecordingHandler(log)]
                    }.bind(to: place.freshAddress())
                let peer = try await blocking { try RawSocket.connect(to: server.localAddress) }
                let channel = try await channels.wait(for: "the maker") { $0.count == 1 }[0]
                switch end {
                case .closesItself: break
                case .isClosed: channel.close()
                case .serverShutsDown: #expect(await server.shutdown(within: .seconds(600)).channelsIdle == 1)
                case .loopShutsDown: #expect(await group.shutdown(within: .seconds(600)).channelsIdle == 1)
                }
                await channel.closed()
                try await log.wait(for: "the cancellation") { $0.events.contains(.note("cancelled")) }
                _ = try await blocking { peer.readToEnd() }
                await group.settle()
                #expect(log.value.events == [.note("begin"), .note("cancelled")])
                #expect(errors.value == [])
                peer.close()
            }
        }

        /// One that does not care for its cancellation returns when the loop is gone.
        @Test(arguments: Engine.allCases) func aMakerMayOutliveItsLoop(_ engine: Engine) async throws {
            let gate = Watched(false)
            let ends = Watched(0)
            let log = Watched(Recording())
            try await withGroup(engine) { group in
                let server = try await ServerBootstrap(group: group).childHandlers { channel in
                    defer { ends.update { $0 += 1 } }
                    try await Self.wait(gate, channel, log)
                    return [RecordingHandler(log)]
                }.bind(host: "127.0.0.1", port: 0)
                let peer = try await blocking { try RawSocket.connect(to: server.localAddress) }
                try await log.wait(for: "the maker") { !$0.events.isEmpty }
                await group.shutdown()
                peer.close()
            }
            gate.update { $0 = true }
            try await ends.wait(for: "its end") { $0 == 1 }
            #expect(log.value.events == [.note("begin true false"), .note("end false false")])
        }

        /// Many wait at once, some for each other, and each is served as its task wants.
        @Test(arguments: Place.all) func manyWaitForEachOther(_ place: Place) async throws {
            try await withGroup(place.engine, loops: 2) { group in
                let count = 40
                let arrived = Watched(0)
                let server = try await ServerBootstrap(group: group)
                    .childHandlers { _ in
                        arrived.update { $0 += 1 }
                        try await arrived.wait(for: "all of them") { $0 == count }
                        return [BackPressureHandler()]
                    }
                    .serve { connection in
                        for try await bytes in connection.inbound { try await connection.send(bytes) }
                    }.bind(to: place.freshAddress())
                try await blocking {
                    let peers = try (0..<count).map { _ in try RawSocket.connect(to: server.localAddress) }
                    for peer in peers { try peer.write("echo") }
                    for peer in peers { #expect(try peer.read(4) == Array("echo".utf8)) }
                    for peer in peers { peer.close() }
                }
            }
        }

        // MARK: Outgoing

        /// The connect begins when the handlers are there.
        @Test(arguments: Place.all) func aConnectWaitsForThem(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let gate = Watched(false)
                let log = Watched(Recording())
                let server = try await group.serve(place)
                async let connecting = ClientBootstrap(group: group).handlers { channel in
                    try await Self.wait(gate, channel, log)
                    return [RecordingHandler(log)]
                }.connect(to: server.address)
                try await log.wait(for: "the maker") { !$0.events.isEmpty }
                for _ in 0..<3 { await group.settle() }
                #expect(server.accepted.value.isEmpty)
                gate.update { $0 = true }
                let channel = try await connecting
                #expect(
                    log.value.events == [.note("begin true false"), .note("end true false"), .added, .active])
                channel.close(.immediate)
                await channel.closed()
            }
        }

        enum Failure: CaseIterable, Sendable { case throwing, closing, timeLimit, cancellation, shutdown }

        /// However the connect ends: it ends at once, and its maker with it.
        @Test(arguments: Place.all, Failure.allCases) func aConnectThatFails(_ place: Place, _ failure: Failure)
            async throws
        {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let server = try await group.serve(place)
                let client = ClientBootstrap(group: group)
                    .connectTimeout(failure == .timeLimit ? .milliseconds(20) : .seconds(600))
                    .handlers { channel in
                        if failure == .throwing {
                            await Task.yield()
                            throw Given()
                        }
                        if failure == .closing { channel.close() }
                        try await Self.waitInVain(channel, log)
                        return []
                    }
                let code: TransportError.Code =
                    switch failure {
                    case .throwing: .handlerFailed
                    case .closing: .closed
                    case .timeLimit: .timedOut
                    case .cancellation: .cancelled
                    case .shutdown: .loopShutDown
                    }
                let connect = Task {
                    await expectError(code, .connect, 0, about: server.address.description) {
                        try await client.connect(to: server.address)
                    }
                }
                if failure == .cancellation || failure == .shutdown {
                    try await log.wait(for: "the maker") { !$0.events.isEmpty }
                }
                if failure == .cancellation { connect.cancel() }
                if failure == .shutdown { await group.shutdown() }
                let error = await connect.value
                #expect((error?.underlying is Given) == (failure == .throwing))
                if failure != .throwing {
                    try await log.wait(for: "the cancellation") { $0.events.contains(.note("cancelled")) }
                }
                #expect(server.accepted.value.isEmpty)
                if failure != .shutdown {
                    #expect(await group.loops[0].statistics()?.armedTimers == LoopEnd.timers)
                }
            }
        }
    }
}

extension Channel {
    fileprivate var isHere: Bool { eventLoop.isCurrent }
}
