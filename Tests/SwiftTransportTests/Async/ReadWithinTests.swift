import SwiftTransport
import Testing

extension Scenarios {
    /// A read may have a limit of its own, and a connection may end where it is used.
    struct ReadWithinTests {
        private func pair(_ group: EventLoopGroup) async throws -> (connection: Connection, peer: RawSocket) {
            let listener = try RawSocket.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
            let connection = try await ClientBootstrap(group: group).open(listener.localAddress)
            return (connection, try await blocking { try listener.accept() })
        }

        /// Again and again in vain, on the loop or off it: what comes afterwards is read whole, and no timer is left.
        @Test(arguments: Engine.allCases, [false, true]) func aReadInVainLosesNothing(_ engine: Engine, _ onLoop: Bool)
            async throws
        {
            try await withGroup(engine) { group in
                let (connection, peer) = try await pair(group)
                let loop = group.loops[0]
                await withTaskExecutorPreference(onLoop ? loop.taskExecutor : nil) {
                    for _ in 0..<3 {
                        await expectError(.timedOut, .receive) { try await connection.read(within: .milliseconds(1)) }
                        await expectError(.timedOut, .receive) { try await connection.read(within: .zero) }
                    }
                }
                #expect(connection.channel.isActive)
                let pattern = Pattern(seed: 3)
                let size = 200_000
                async let written: Void = blocking {
                    try peer.write(pattern.bytes(at: 0, count: size))
                    peer.shutdownOutput()
                }
                var received = 0
                var isOver = false
                while !isOver {
                    do throws(TransportError) {
                        guard let bytes = try await connection.read(within: .microseconds(1)) else {
                            isOver = true
                            continue
                        }
                        #expect(bytes.withUnsafeBytes { pattern.matches($0, at: received) })
                        received += bytes.count
                    } catch {
                        #expect(error.code == .timedOut)
                    }
                }
                try await written
                #expect(received == size)
                #expect(await loop.statistics()?.armedTimers == LoopEnd.timers)
                await connection.close()
                peer.close()
            }
        }

        /// Bytes, an end or a failure that come in time end the wait, and its timer.
        @Test(arguments: Engine.allCases) func aReadEndsWithWhatComesFirst(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let (connection, peer) = try await pair(group)
                let armed = { await group.loops[0].statistics()?.armedTimers }
                async let bytes = connection.read(within: .seconds(3600))
                try await eventually("the read to wait") { await armed() == LoopEnd.timers + 1 }
                try await blocking { try peer.write("in time") }
                #expect(try await bytes.map { String($0) } == "in time")
                #expect(await armed() == LoopEnd.timers)

                let reader = Task { try await connection.read(within: .seconds(3600)) }
                try await eventually("the read to wait") { await armed() == LoopEnd.timers + 1 }
                reader.cancel()
                await expectError(.cancelled, .receive) { try await reader.value }
                #expect(await armed() == LoopEnd.timers)

                async let end = connection.read(within: .seconds(3600))
                try await eventually("the read to wait") { await armed() == LoopEnd.timers + 1 }
                peer.close()
                #expect(try await end == nil)
                #expect(await armed() == LoopEnd.timers)
                await connection.close()
            }
        }

        /// A body that returns has its bytes delivered; one that throws leaves no end that looks like a whole stream.
        @Test(arguments: Engine.allCases, [false, true])
        func aConnectionEndsWithItsBody(_ engine: Engine, _ throwing: Bool) async throws {
            struct Given: Error {}
            try await withGroup(engine) { group in
                let listener = try RawSocket.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
                let peer = Task { try await blocking { try listener.accept() } }
                let channels = Watched<[Channel]>([])
                let question = Pattern(seed: 4).bytes(at: 0, count: throwing ? 1000 : 300_000)
                let reading = Task {
                    let peer = try await peer.value
                    return try await blocking {
                        defer { peer.close() }
                        return peer.readToEnd()
                    }
                }
                var calls = 0
                let answer: Int?
                do {
                    answer = try await ClientBootstrap(group: group).withConnection(to: listener.localAddress) {
                        let channel = $0.channel
                        channels.update { $0.append(channel) }
                        calls += 1
                        try await $0.send(Buffer(question))
                        if throwing { throw Given() }
                        return question.count
                    }
                } catch is Given {
                    answer = nil
                }
                #expect(calls == 1)
                #expect(answer == (throwing ? nil : question.count))
                #expect(channels.value.map(\.isActive) == [false])
                let received = try await reading.value
                #expect(received.error == (throwing ? 104 : 0))
                if !throwing { #expect(received.bytes == question) }
            }
        }
    }
}
