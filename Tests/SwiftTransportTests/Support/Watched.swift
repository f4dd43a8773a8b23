import Synchronization
import Testing

/// State of the loop's side that a test waits for: no sleeping, every change looks for waiters.
final class Watched<State: Sendable>: Sendable {
    private struct Guarded {
        var state: State
        var waiters: [Waiter] = []
        var nextWaiter = 0
    }
    private struct Waiter {
        let id: Int
        let isReady: @Sendable (State) -> Bool
        let continuation: CheckedContinuation<Bool, Never>
    }
    private let guarded: Mutex<Guarded>

    init(_ state: State) { guarded = Mutex(Guarded(state: state)) }

    var value: State { guarded.withLock { $0.state } }

    func update(_ change: (inout sending State) -> Void) {
        let ready = guarded.withLock { guarded -> [Waiter] in
            change(&guarded.state)
            let state = guarded.state
            let ready = guarded.waiters.filter { $0.isReady(state) }
            guarded.waiters.removeAll { waiter in ready.contains { $0.id == waiter.id } }
            return ready
        }
        for waiter in ready { waiter.continuation.resume(returning: true) }
    }

    /// Returns the state once `isReady` says so. A wait that never ends fails the test instead of hanging it.
    @discardableResult
    func wait(
        for what: String, sourceLocation: SourceLocation = #_sourceLocation,
        _ isReady: @escaping @Sendable (State) -> Bool
    ) async throws -> State {
        let id = guarded.withLock { guarded in
            guarded.nextWaiter += 1
            return guarded.nextWaiter
        }
        let alarm = Patience.alarm { self.giveUp(id) }
        let came = await withCheckedContinuation { continuation in
            let ready = guarded.withLock { guarded in
                if isReady(guarded.state) { return true }
                guarded.waiters.append(Waiter(id: id, isReady: isReady, continuation: continuation))
                return false
            }
            if ready { continuation.resume(returning: true) }
        }
        Patience.cancel(alarm)
        if !came { throw Patience.Over(what: "\(what); it is \(value)", sourceLocation) }
        return value
    }

    private func giveUp(_ id: Int) {
        let waiter = guarded.withLock { guarded -> Waiter? in
            guard let index = guarded.waiters.firstIndex(where: { $0.id == id }) else { return nil }
            return guarded.waiters.remove(at: index)
        }
        waiter?.continuation.resume(returning: false)
    }
}
