/// What a subject counts, and how it tells it: names and numbers in one line.
struct Counts: Sendable {
    enum Name: Int, CaseIterable {
        /// Channels that became active, those that became inactive, and those whose peer ended its stream.
        case opened, closed, ended
        /// Errors that channels told their handlers, and those of them that the kernel gave up after its own time.
        case errors, timedOut
        /// Errors of accepting.
        case refusedAccepts
        /// Writes with a promise, those that the kernel took, and those that failed.
        case written, sent, failed
        /// Bytes of all writes, bytes that came in, and how many of these were not the ones that had to come.
        case writtenBytes, receivedBytes, wrongBytes
        /// Now: channels that are open and not writable, and what is queued on all of them.
        case unwritable, queuedBytes
        /// Of all loops together: see `LoopStatistics`.
        case turns, accepts, open, stale, overflows
        /// Of a listener that was made.
        case port
    }
    private var values = [Int](repeating: 0, count: Name.allCases.count)

    init() {}

    /// From what `line` gives.
    init?(_ line: Substring) {
        for word in line.split(separator: " ") {
            let parts = word.split(separator: "=")
            guard parts.count == 2, let value = Int(parts[1]), let name = Self.names[String(parts[0])] else {
                return nil
            }
            self[name] = value
        }
    }

    subscript(name: Name) -> Int {
        get { values[name.rawValue] }
        set { values[name.rawValue] = newValue }
    }

    var line: String {
        Name.allCases.filter { self[$0] != 0 }.map { "\($0)=\(self[$0])" }.joined(separator: " ")
    }

    private static let names = Dictionary(uniqueKeysWithValues: Name.allCases.map { ("\($0)", $0) })
}
