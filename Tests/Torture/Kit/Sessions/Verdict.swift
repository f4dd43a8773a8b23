import SwiftTransport

/// What the end of a session must agree with.
struct Terms {
    /// Everything had to arrive, with a clean end behind it.
    var isWhole: Bool
    /// A reset cannot look like a clean end here, as it does on Unix sockets.
    var canTellReset: Bool
    /// What the writer was told on its way into the queue is known: no handler kept writes back.
    var isExact: Bool
}

extension Stream {
    /// Compares what was written, what was told and what came. Everything that is wrong, by kind and in detail.
    func verdict(_ terms: Terms) -> [(kind: String, detail: String)] {
        state.withLock { state in
            var faults: [(kind: String, detail: String)] = []
            if let fault = state.finish(hasLanes) { faults.append(("bytes", fault)) }
            if state.isBroken { return faults }
            if terms.isWhole, state.end != .clean {
                faults.append(("ended without cause", "the reader saw \(state.end) after \(state.received) bytes"))
            }
            let mustBeComplete = state.end == .clean && (terms.canTellReset || terms.isWhole)
            for (index, entry) in state.entries.enumerated() {
                if let kind = Self.fault(entry, mustBeComplete, terms, state.end) {
                    faults.append((kind, "#\(index) of \(state.entries.count): \(entry.summary); end \(state.end)"))
                }
            }
            return faults
        }
    }

    private static func fault(_ entry: Entry, _ mustBeComplete: Bool, _ terms: Terms, _ end: End) -> String? {
        if entry.isTold, entry.tells == 0 { return "never told" }
        if entry.tells > 1 { return "told \(entry.tells) times" }
        let isWhole = entry.arrival == .whole
        if entry.hasSucceeded, entry.arrival == .missing { return "success, but the stream goes on without it" }
        if mustBeComplete, !isWhole {
            if entry.hasSucceeded { return "[1] clean end without what was told as a success" }
            if entry.isAccepted, !entry.isTold { return "[1] clean end without an accepted write" }
            if entry.isAccepted, terms.isExact, entry.hasFailed, !entry.wasTakenBack {
                return "[1] clean end without an accepted write that failed later"
            }
            if entry.arrival == .partly { return "[1] clean end in the middle of a write" }
        }
        // Taken by the kernel while it was given up: then the stream ends with it.
        let isCutThere = entry.failure == .cancelled && (end != .clean || !terms.canTellReset)
        if isWhole, entry.hasFailed, entry.isLastPart, terms.isExact, !isCutThere {
            return "told a failure, but all of it came"
        }
        if entry.failure == .cancelled, entry.arrival == .partly, end == .clean, terms.canTellReset {
            return "[2] cancelled half-way, and a clean end"
        }
        return nil
    }

    var summary: String {
        state.withLock { state in
            var whole = 0
            var told = 0
            var failed = 0
            for entry in state.entries {
                if entry.arrival == .whole { whole += 1 }
                if entry.tells > 0 { told += 1 }
                if entry.failure != nil { failed += 1 }
            }
            let bytes = state.entries.reduce(0) { $0 + Int($1.count) }
            var text =
                "\(state.entries.count) writes of \(bytes) bytes in \(state.lanes.count) lanes, \(told) told, \(failed) failed; "
            text += "\(state.received) bytes came, \(whole) writes whole, end \(state.end)"
            return text
        }
    }
}

extension Stream.Entry {
    /// Told that nothing of it was sent, by whoever took it out.
    var wasTakenBack: Bool {
        switch failure {
        case .cancelled, .promiseDropped, .unencodableMessage, .outboundQueueFull, .loopBudgetExhausted: true
        default: false
        }
    }

    var summary: String {
        let told = !isTold ? "untold" : tells == 0 ? "not told" : failure.map { "told \($0)" } ?? "told success"
        return
            "\(count) bytes, lane \(lane), \(isAccepted ? "accepted, " : "")\(isRemovable ? "removable, " : "")\(told), came \(arrival)"
    }
}
