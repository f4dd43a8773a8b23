internal import CTransport
internal import Glibc
internal import Synchronization

/// SIGINT (Ctrl-C) and SIGTERM (`kill`, systemd, Kubernetes) as something to await: how a server learns that it is to stop.
///
///     let stop = try StopSignal()                     // before anything that must be closed properly
///     let server = try await bootstrap.bind(host: "0.0.0.0", port: 7000)
///     await stop.received()
///     await group.shutdown(within: .seconds(10))
///
/// The first one that is made takes the two signals over, for the whole process and for good: they end it no more. Several may wait,
/// and each sees every signal that came since it was made; one that is made afterwards waits for the next, such as a second
/// Ctrl-C that is to end a shutdown that takes too long.
public final class StopSignal: Sendable {
    /// Which one it was.
    public enum Kind: Sendable, Hashable {
        /// SIGINT.
        case interrupt
        /// SIGTERM.
        case terminate
    }

    private let before: Int

    /// Takes the two signals over, if nobody has yet.
    ///
    /// - Throws: `.descriptorLimit`, `.outOfMemory` or `.system` when the process has no descriptor or thread left for it.
    public init() throws(TransportError) {
        before = try SignalWatch.start()
    }

    /// Returns when the first of the signals has come since this was made, also if that was before the call, and which it was;
    /// `nil` when the task is cancelled.
    @discardableResult
    public func received() async -> Kind? {
        let ticket = SignalWatch.Ticket()
        return await withTaskCancellationHandler {
            await withUnsafeContinuation { SignalWatch.wait(ticket, behind: before, $0) }
        } onCancel: {
            SignalWatch.cancel(ticket)
        }
    }
}

/// Reads the signals, with a thread that does nothing else, and tells whoever waits. One for the process.
private enum SignalWatch {
    /// Who waits. Cancelled perhaps before it waits.
    final class Ticket: Sendable {
        let isCancelled = Atomic<Bool>(false)
    }

    private struct State {
        /// Where the signals are read, once they are caught.
        var descriptor: Int32?
        var isRead = false
        var received: [StopSignal.Kind] = []
        var waiters: [ObjectIdentifier: (before: Int, continuation: UnsafeContinuation<StopSignal.Kind?, Never>)] = [:]
    }
    private static let state = Mutex(State())

    /// Returns how many signals have come so far. One that could not begin is tried again.
    static func start() throws(TransportError) -> Int {
        try state.withLock { state throws(TransportError) in
            if state.descriptor == nil { state.descriptor = try checked(.eventfd, ct_signal_catch()) }
            if !state.isRead, let descriptor = state.descriptor {
                let context = UnsafeMutableRawPointer(bitPattern: Int(descriptor))
                try checked(.pthreadCreate, ct_thread_start("transport-stop", -1, body, context))
                state.isRead = true
            }
            return state.received.count
        }
    }

    private static let body: @convention(c) (UnsafeMutableRawPointer?) -> Void = { context in
        let descriptor = Int32(truncatingIfNeeded: Int(bitPattern: context))
        var counts: UInt64 = 0
        while read(descriptor, &counts, 8) == 8 || errno == EINTR {
            note(.terminate, counts >> 32)
            note(.interrupt, counts & UInt64(UInt32.max))
        }
    }

    private static func note(_ kind: StopSignal.Kind, _ count: UInt64) {
        guard count > 0 else { return }
        let told = state.withLock { state in
            state.received.append(kind)
            let told = state.waiters.filter { $0.value.before < state.received.count }
            for ticket in told.keys { state.waiters[ticket] = nil }
            return told.values.map { ($0.continuation, state.received[$0.before]) }
        }
        for (continuation, kind) in told { continuation.resume(returning: kind) }
    }

    static func wait(_ ticket: Ticket, behind before: Int, _ continuation: UnsafeContinuation<StopSignal.Kind?, Never>)
    {
        let answer = state.withLock { state -> StopSignal.Kind?? in
            if before < state.received.count { return state.received[before] }
            if ticket.isCancelled.load(ordering: .sequentiallyConsistent) { return .some(nil) }
            state.waiters[ObjectIdentifier(ticket)] = (before, continuation)
            return nil
        }
        if let answer { continuation.resume(returning: answer) }
    }

    /// Either the wait sees the mark, or this finds the waiter.
    static func cancel(_ ticket: Ticket) {
        ticket.isCancelled.store(true, ordering: .sequentiallyConsistent)
        let waiter = state.withLock { $0.waiters.removeValue(forKey: ObjectIdentifier(ticket)) }
        waiter?.continuation.resume(returning: nil)
    }
}
