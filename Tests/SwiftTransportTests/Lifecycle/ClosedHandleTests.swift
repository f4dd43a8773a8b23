import Glibc
import SwiftTransport
import Testing

extension Scenarios {
    /// W6, W14: a handle outlives its channel, and using it then is harmless and says why.
    struct ClosedHandleTests {
        @Test(arguments: Place.all) func usingItIsHarmless(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(place) { [RecordingHandler(log)] }
                channel.close(.immediate)
                await channel.closed()
                let told = Watched<[TransportError?]>([])
                channel.write(Buffer("x"), promise: .callback { error in told.update { $0.append(error) } })
                channel.writeAndFlush(Buffer("x"), promise: .callback { error in told.update { $0.append(error) } })
                channel.writeAndFlush(Buffer("nobody asks"))
                channel.flush()
                channel.setAutomaticReading(false)
                channel.setAutomaticReading(true)
                channel.shutdownOutput()
                channel.close()
                channel.close(.reset)
                await channel.closed()
                await expectError(.closed, .none) { try await channel.send(Buffer("x")) }
                try await told.wait(for: "both answers") { $0.count == 2 }
                #expect(told.value == [TransportError(.closed), TransportError(.closed)])
                #expect(!channel.isActive)
                #expect(!channel.isWritable)
                #expect(channel.pendingBytes == 0)
                try await group.turn {
                    let isLast = channel.pipeline.addLast(RecordingHandler(log))
                    let isFirst = channel.pipeline.addFirst(RecordingHandler(log))
                    let found: Void? = channel.pipeline.withContext(of: RecordingHandler.self) { _ in }
                    #expect(!isLast && !isFirst && found == nil)
                }
                #expect(log.value.events == [.added, .active, .inactive, .removed])
                let received = try await blocking { peer.readToEnd() }
                #expect(received.bytes == [])
            }
        }

        /// The first failure is what every later refusal names.
        @Test(arguments: Engine.allCases) func theFirstCauseStays(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .tcp)) {
                    [RecordingHandler(log)]
                }
                peer.reset()
                await channel.closed()
                #expect(log.value.events == [.added, .active, .error(.connectionLost), .inactive, .removed])
                for _ in 0..<2 {
                    let error = await expectError(.closed, .receive, ECONNRESET) { try await channel.send(Buffer("x")) }
                    #expect(error?.description.contains("recv") == true)
                }
            }
        }
    }
}
