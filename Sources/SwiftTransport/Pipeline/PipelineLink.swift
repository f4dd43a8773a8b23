/// A place in a pipeline, or its end: what knows how the next handler is found and called. The loop's thread only.
///
/// The closure of a call is written where the event is and inlined into it: no reference is counted and nothing allocated
/// on the way to the handler.
struct PipelineLink {
    private let place: ContextReference?

    /// Behind the last handler, or before the first one.
    static var end: PipelineLink { PipelineLink(nil) }

    @inline(__always)
    init(_ place: ContextReference?) { self.place = place }

    /// Towards the application: calls `body` with the first context from here on whose handler wants `event`. False when
    /// there is none.
    @inline(__always) @discardableResult
    func call(_ event: ChannelEvents, _ body: (ChannelContext) -> Void) -> Bool {
        var candidate = place
        while let current = candidate {
            if current.with({ $0.own.interests.contains(event) }) {
                current.with { body($0) }
                return true
            }
            candidate = current.with { $0.own.next.place }
        }
        return false
    }

    /// The same towards the network.
    @inline(__always) @discardableResult
    func callOutwards(_ operation: ChannelEvents, _ body: (ChannelContext) -> Void) -> Bool {
        guard let target = outwards(operation) else { return false }
        target.with { body($0) }
        return true
    }

    @inline(__always)
    private func outwards(_ operation: ChannelEvents) -> ContextReference? {
        var candidate = place
        while let current = candidate {
            if current.with({ $0.own.interests.contains(operation) }) { return current }
            candidate = current.with { $0.own.previous.place }
        }
        return nil
    }

    /// The context at this place, counted as any reference: for what happens once in a pipeline's life. `nil` at the end.
    var context: ChannelContext? { place?.context }
}
