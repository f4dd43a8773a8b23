internal import Synchronization

/// The end of one loop: who waits for it, and how its channels ended.
final class LoopShutdown: @unchecked Sendable {
    private struct State {
        var report: ShutdownReport?
        var waiter: UnsafeContinuation<ShutdownReport, Never>?
    }
    private let state = Mutex(State())
    // The loop's thread only.
    fileprivate var departure: Departure?
    private var next: LoopShutdown?

    /// Called once, when the loop has ended.
    func complete() {
        let report = departure?.report ?? ShutdownReport()
        departure = nil
        let waiter = state.withLock { state in
            state.report = report
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: report)
        next?.complete()
        next = nil
    }

    /// Another shutdown of the same loop: it ends with the first and has nothing to report itself.
    fileprivate func chain(_ other: LoopShutdown) {
        other.next = next
        next = other
    }

    func finished() async -> ShutdownReport {
        await withUnsafeContinuation { continuation in
            let report = state.withLock { state in
                if state.report == nil { state.waiter = continuation }
                return state.report
            }
            if let report { continuation.resume(returning: report) }
        }
    }
}

extension EventLoop {
    /// Any thread.
    func beginShutdown(_ shutdown: LoopShutdown, within duration: Duration) {
        let work = ShutdownWork(shutdown, duration)
        post(work)
    }

    fileprivate func shutDown(_ shutdown: LoopShutdown, within duration: Duration) {
        assertOnLoop()
        if let first = own.shutdown {
            first.chain(shutdown)
            first.departure?.limit(to: duration)
            return
        }
        own.shutdown = shutdown
        own.phase = .closing
        for attempt in own.attempts.snapshot { attempt.endWithLoop() }
        let departure = Departure(on: self) { _ in true }
        shutdown.departure = departure
        departure.begin(within: duration)
    }
}

private final class ShutdownWork: LoopWork {
    private let shutdown: LoopShutdown
    private let duration: Duration
    init(_ shutdown: LoopShutdown, _ duration: Duration) {
        self.shutdown = shutdown
        self.duration = duration
    }
    override func run(on loop: EventLoop) { loop.shutDown(shutdown, within: duration) }
    override func reject(_ why: TransportError.Code) { shutdown.complete() }
}
