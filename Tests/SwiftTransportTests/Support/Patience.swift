import Glibc
import Synchronization
import Testing

/// How long a broken library may keep a test waiting. Nothing that works comes near it.
///
/// It keeps time with a thread of its own and not with Task.sleep: that would open descriptors, and stop the program where
/// there are none left, which some tests bring about.
enum Patience {
    static let limit: Duration = .seconds(30)

    struct Over: Error, CustomStringConvertible {
        let description: String
        init(what: String, _ place: SourceLocation) {
            description = "waited in vain for \(what) (\(place.fileName):\(place.line))"
        }
    }

    private struct Alarms {
        var waiting: [Int: (end: ContinuousClock.Instant, ring: @Sendable () -> Void)] = [:]
        var next = 0
        var isStarted = false
    }
    private static let alarms = Mutex(Alarms())

    /// Calls `ring` when the patience is over, unless it is cancelled before.
    static func alarm(_ ring: @escaping @Sendable () -> Void) -> Int {
        let (ticket, isFirst) = alarms.withLock { alarms in
            alarms.next += 1
            alarms.waiting[alarms.next] = (ContinuousClock.now + limit, ring)
            defer { alarms.isStarted = true }
            return (alarms.next, !alarms.isStarted)
        }
        if isFirst { startThread(watch) }
        return ticket
    }

    static func cancel(_ ticket: Int) { alarms.withLock { _ = $0.waiting.removeValue(forKey: ticket) } }

    @Sendable private static func watch() {
        while true {
            usleep(100_000)
            let now = ContinuousClock.now
            let over = alarms.withLock { alarms in
                let over = alarms.waiting.filter { $0.value.end < now }
                for ticket in over.keys { alarms.waiting[ticket] = nil }
                return over.values.map(\.ring)
            }
            for ring in over { ring() }
        }
    }
}

/// Waits for something that nobody announces: asks again and again.
func eventually(
    _ what: String, sourceLocation: SourceLocation = #_sourceLocation, _ holds: () async throws -> Bool
) async throws {
    let start = ContinuousClock.now
    while try await !holds() {
        if ContinuousClock.now - start > Patience.limit { throw Patience.Over(what: what, sourceLocation) }
        try await blocking { _ = usleep(500) }
    }
}
