import SwiftTransport
import Testing

extension Scenarios {
    /// W12, P1: a write can be taken back until it is flushed; then it is the kernel's.
    struct CancelTests {
        @Test(arguments: Place.all) func onlyBeforeTheFlush(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(place) { [RecordingHandler(log)] }
                let cancelled = Watched<[Bool]>([])
                try await group.turn {
                    let context = channel.pipeline.context(of: RecordingHandler.self)!
                    context.write(Buffer("a"), tag: 0)
                    let dropped = context.write(Buffer("never sent"), tag: 1)
                    context.write(Buffer("b"), tag: 2)
                    let before = channel.cancel(dropped)
                    let again = channel.cancel(dropped)
                    let flushed = context.write(Buffer("c"), tag: 3)
                    context.flush()
                    let after = channel.cancel(flushed)
                    cancelled.update { $0 = [before, again, after] }
                    context.close()
                }
                #expect(cancelled.value == [true, false, false])
                let received = try await blocking { peer.readToEnd() }
                #expect(String(decoding: received.bytes, as: UTF8.self) == "abc")
                peer.close()
                await channel.closed()
                let told = log.value.events.filter { if case .completed = $0 { true } else { false } }
                #expect(told == [.completed(1, .cancelled), .completed(0, nil), .completed(2, nil), .completed(3, nil)])
            }
        }
    }
}
