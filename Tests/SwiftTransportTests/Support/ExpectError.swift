import Glibc
import SwiftTransport
import Testing

/// Expects `body` to throw an error of this code, from this call, and that its description helps if the system had a part in
/// it: it names the call, the error number in words, and what to do about it.
@discardableResult
func expectError<R>(
    _ code: TransportError.Code, _ call: SystemCall, _ number: Int32? = nil,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () async throws -> R
) async -> TransportError? {
    do {
        let result = try await body()
        Issue.record("expected .\(code), got \(result)", sourceLocation: sourceLocation)
        return nil
    } catch let error as TransportError {
        #expect(error.code == code, sourceLocation: sourceLocation)
        #expect(error.call == call, sourceLocation: sourceLocation)
        if let number { #expect(error.errno == number, sourceLocation: sourceLocation) }
        if error.errno != 0 { expectHelpful(error, sourceLocation: sourceLocation) }
        return error
    } catch {
        Issue.record("expected .\(code), got \(error)", sourceLocation: sourceLocation)
        return nil
    }
}

/// Issue 2: an error names the call, the errno, the likely cause and the remedy.
func expectHelpful(_ error: TransportError, sourceLocation: SourceLocation = #_sourceLocation) {
    let text = error.description
    let parts = text.split(separator: "]", maxSplits: 1)
    guard parts.count == 2, let open = parts[0].lastIndex(of: "[") else {
        Issue.record("no call in '\(text)'", sourceLocation: sourceLocation)
        return
    }
    let meaning = parts[0][..<open]
    let source = parts[0][open...]
    #expect(meaning.count > 10, "'\(text)'", sourceLocation: sourceLocation)
    #expect(source.hasPrefix("[\(error.call.name): "), "'\(text)'", sourceLocation: sourceLocation)
    if error.call != .getaddrinfo {
        #expect(source.contains(String(cString: strerror(error.errno))), "'\(text)'", sourceLocation: sourceLocation)
        #expect(source.hasSuffix("errno \(error.errno)"), "'\(text)'", sourceLocation: sourceLocation)
    }
    #expect(parts[1].count > 20, "no remedy in '\(text)'", sourceLocation: sourceLocation)
}
