/// A part of a bootstrap of which there can be one only, such as the handlers of a server: given a second time, it is neither
/// replaced in silence nor put together with the first by guessing, but refused where the bootstrap is used.
struct GivenOnce<Part: Sendable>: Sendable {
    private let call: String
    private var given: Part?
    private var isRepeated = false

    /// - Parameter call: the method of the bootstrap that gives it.
    init(_ call: String) { self.call = call }

    mutating func give(_ part: Part) {
        isRepeated = given != nil
        given = part
    }

    /// - Throws: `.conflictingConfiguration`, about the call.
    var part: Part? {
        get throws(TransportError) {
            if isRepeated { throw TransportError(.conflictingConfiguration, subject: call) }
            return given
        }
    }
}
