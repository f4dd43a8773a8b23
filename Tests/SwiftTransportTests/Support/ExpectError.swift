import Foundation
import SwiftTransport
import Testing

/// Expects `body` to throw an error of this code, from this call, about this subject, and that its description helps if the
/// system had a part in it: it names the call, the error number in words, and what to do about it.
@discardableResult
func expectError<R>(
    _ code: TransportError.Code, _ call: SystemCall, _ number: Int32? = nil, about subject: String? = nil,
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
        if let subject {
            #expect(error.subject == subject, sourceLocation: sourceLocation)
            #expect(error.description.hasPrefix("\(subject): "), sourceLocation: sourceLocation)
        }
        if error.errno != 0 { expectHelpful(error, sourceLocation: sourceLocation) }
        return error
    } catch {
        Issue.record("expected .\(code), got \(error)", sourceLocation: sourceLocation)
        return nil
    }
}

/// An error names the call, the errno, the likely cause and the remedy.
func expectHelpful(_ error: TransportError, sourceLocation: SourceLocation = #_sourceLocation) {
    let text = error.description
    let source = error.errno < 0 ? "" : "\(String(cString: strerror(error.errno))), errno \(error.errno)"
    let prefix = error.call == .none ? " [" : " [\(error.call.name): "
    guard let open = text.range(of: prefix + source), let close = text.range(of: "]. ", options: .backwards) else {
        Issue.record("no call and error in '\(text)'", sourceLocation: sourceLocation)
        return
    }
    #expect(text[..<open.lowerBound].count > 10, "'\(text)'", sourceLocation: sourceLocation)
    #expect(text[close.upperBound...].count > 20, "no remedy in '\(text)'", sourceLocation: sourceLocation)
}
