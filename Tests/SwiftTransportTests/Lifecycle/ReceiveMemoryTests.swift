import Testing

@testable import SwiftTransport

extension Scenarios {
    /// Receive memory that a reader shares outlives the loop, and not the reader.
    struct ReceiveMemoryTests {
        /// The loop ends with the kernel still appending to the chunk that a slice was kept of: 64 KiB, the pool, the mailbox
        /// and an eventfd of each such loop were never freed.
        @Test(arguments: Place.all) func sharedMemoryIsFreedBehindLoopAndReader(_ place: Place) async throws {
            let kept = Watched<Buffer?>(nil)
            var options = LoopOptions()
            options.shareThreshold = .bytes(1)
            try await withGroup(place.engine, options: options) { group in
                let (_, peer) = try await group.connection(place) {
                    [
                        RecordingHandler {
                            $0.onRead = { _, bytes in
                                let buffer = Buffer(bytes)
                                kept.update { $0 = buffer }
                            }
                        }
                    ]
                }
                try await blocking { try peer.write([7]) }
                _ = try await kept.wait(for: "the bytes") { $0 != nil }
            }
            weak let storage = kept.value?.owner
            #expect(storage != nil)
            #expect(kept.value == Buffer([7]))
            kept.update { $0 = nil }
            #expect(storage == nil)
        }
    }
}
