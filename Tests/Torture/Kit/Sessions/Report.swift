import Glibc
import Synchronization

func say(_ text: String) {
    print(text)
    fflush(nil)
}

/// What is found wrong, counted by kind; the first few are printed with all that is known of them. Any thread.
final class Report: Sendable {
    private struct State {
        var faults: [String: Int] = [:]
        var printed: [String: Int] = [:]
        var hangs = 0
        var leaks = 0
        var lines: [String] = []
    }
    private static let printedPerKind = 3
    private let state = Mutex(State())
    private let title: String

    private let keepsLines: Bool

    /// - Parameter keepsLines: for whoever prints them later.
    init(title: String, keepsLines: Bool = false) {
        self.title = title
        self.keepsLines = keepsLines
    }

    /// Everything that was to be printed.
    var lines: [String] { state.withLock { $0.lines } }

    private func tell(_ text: String) {
        if keepsLines { state.withLock { $0.lines.append(text) } } else { say(text) }
    }

    func faults(_ session: Session, _ faults: [(kind: String, detail: String)]) {
        let isNews = faults.map { count($0.kind) }.contains(true)
        guard isNews else { return }
        let lines = faults.map { "BAD \(title): \($0.kind): \($0.detail)" } + session.summary
        tell(lines.joined(separator: "\n"))
    }

    /// Something wrong that is no session's.
    func fault(_ kind: String, _ detail: String) {
        if count(kind) { tell("BAD \(title): \(kind): \(detail)") }
    }

    private func count(_ kind: String) -> Bool {
        state.withLock { state in
            state.faults[kind, default: 0] += 1
            state.printed[kind, default: 0] += 1
            return state.printed[kind, default: 0] <= Self.printedPerKind
        }
    }

    func hang(_ session: Session, _ states: [String]) {
        let isFirst = state.withLock { state in
            state.hangs += 1
            return state.hangs <= Self.printedPerKind
        }
        if isFirst { tell("HANG \(title)\n" + (states + session.summary).joined(separator: "\n")) }
    }

    func hang(_ what: String) {
        state.withLock { $0.hangs += 1 }
        tell("HANG \(title): \(what)")
    }

    func leak(_ what: String) {
        state.withLock { $0.leaks += 1 }
        tell("LEAK \(title): \(what)")
    }

    var isClean: Bool { state.withLock { $0.faults.isEmpty && $0.hangs == 0 && $0.leaks == 0 } }

    /// The figures of the last line, and the faults by kind.
    var summary: String {
        state.withLock { state in
            let bad = state.faults.values.reduce(0, +)
            return "\(bad) bad, \(state.hangs) hangs, \(state.leaks) leaks"
        }
    }

    var kinds: [String] {
        state.withLock { $0.faults.sorted { $0.value > $1.value }.map { "  \($0.value) x \($0.key)" } }
    }
}
