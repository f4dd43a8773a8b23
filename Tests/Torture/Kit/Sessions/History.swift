import Synchronization

/// The last things that happened in a session. Any thread.
final class History: Sendable {
    private struct Event {
        let time: UInt64
        let side: Side
        let what: StaticString
        let first: Int
        let second: Int
    }
    private struct State {
        var events: [Event] = []
        var next = 0
    }
    private static let length = 60
    private let state = Mutex(State())

    func add(_ side: Side, _ what: StaticString, _ first: Int, _ second: Int) {
        let event = Event(time: Clock.microseconds, side: side, what: what, first: first, second: second)
        state.withLock { state in
            if state.events.count < Self.length {
                state.events.append(event)
            } else {
                state.events[state.next % Self.length] = event
            }
            state.next += 1
        }
    }

    var lines: [String] {
        state.withLock { state in
            let start = state.next > Self.length ? state.next % Self.length : 0
            let ordered = state.events[start...] + state.events[..<start]
            let end = ordered.last?.time ?? 0
            return ordered.map { "  \(Int($0.time) - Int(end)) us  \($0.side): \($0.what) \($0.first) \($0.second)" }
        }
    }
}
