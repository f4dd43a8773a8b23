import SwiftTransport
import Testing

extension Scenarios {
    /// One suite, both engines, and a skipped engine is never silent.
    struct EngineTests {
        /// Fails when the scenarios skipped io_uring although this kernel ought to have it, and when they were told that
        /// it is missing but it is not. `SWIFT_TRANSPORT_EXPECT_NO_URING=1` says that it is forbidden here on purpose.
        @Test func uringIsSkippedOnlyWhereItIsForbidden() {
            #expect(Engine.uring.isAvailable != Engine.isURingExpectedMissing, "\(Engine.report)")
            #expect((Engine.uring.failure == nil) == Engine.uring.isAvailable)
        }

        /// The engine asked for is the engine that runs; the scenarios would otherwise test one engine twice.
        @Test(arguments: Engine.allCases) func theEngineAskedForRuns(_ engine: Engine) async throws {
            try await withGroup(engine, loops: 2) { group in
                #expect(group.loops.map(\.engine) == [engine, engine])
            }
        }

        /// No loops at all could serve nobody: there is at least one.
        @Test(arguments: Engine.allCases) func thereIsAtLeastOneLoop(_ engine: Engine) async throws {
            try await withGroup(engine, loops: 0) { #expect($0.loops.count == 1) }
            try await withGroup(engine, loops: -3) { #expect($0.loops.count == 1) }
        }
    }
}
