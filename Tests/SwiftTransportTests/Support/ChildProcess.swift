import SwiftTransport
import Testing

/// The body of an exit test: what it throws is an issue that the parent shows, instead of a crash without a word.
func inChild(sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void) async {
    do { try await body() } catch { Issue.record(error, sourceLocation: sourceLocation) }
}

/// The same with a group on the engine of this name.
func inChild(
    on engine: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: (EventLoopGroup) async throws -> Void
) async {
    await inChild(sourceLocation: sourceLocation) {
        let engine = try #require(Engine(rawValue: engine), sourceLocation: sourceLocation)
        try await withGroup(engine, sourceLocation: sourceLocation, body)
    }
}
