import Synchronization

@testable import SwiftTransport

extension WritePath {
    /// What a channel and its writes told, in order.
    enum Event: Hashable, Sendable {
        case active
        case writable(Bool)
        case inputClosed
        case error(TransportError.Code)
        case notice
        case inactive
        case done(Int, TransportError.Code?)
        case progress(Int, written: Int, total: Int)
        case note(String)
    }

    /// Records events from any thread and lets a test wait for them.
    final class Log: Sendable {
        private struct State {
            var events: [Event] = []
            var waiter: (condition: @Sendable ([Event]) -> Bool, continuation: CheckedContinuation<Void, Never>)?
        }
        private let state = Mutex(State())

        var events: [Event] { state.withLock { $0.events } }

        func add(_ event: Event) {
            let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
                state.events.append(event)
                guard let waiter = state.waiter, waiter.condition(state.events) else { return nil }
                state.waiter = nil
                return waiter.continuation
            }
            waiter?.resume()
        }

        /// Waits until the events satisfy `condition`; one waiter at a time. Ends early when the test is given up.
        func until(_ condition: @escaping @Sendable ([Event]) -> Bool) async {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let now = state.withLock { state in
                        if condition(state.events) || Task.isCancelled { return true }
                        state.waiter = (condition, continuation)
                        return false
                    }
                    if now { continuation.resume() }
                }
            } onCancel: {
                let waiter = state.withLock { state in
                    defer { state.waiter = nil }
                    return state.waiter
                }
                waiter?.continuation.resume()
            }
        }

        func until(_ event: Event) async { await until { $0.contains(event) } }

        /// Waits until `count` writes are over.
        func untilDone(_ count: Int) async {
            await until { $0.count { if case .done = $0 { true } else { false } } >= count }
        }

        /// The writes that are over, in the order in which that was told.
        var done: [Event] { events.filter { if case .done = $0 { true } else { false } } }
        /// The changes of writability.
        var writable: [Bool] {
            events.compactMap { if case .writable(let now) = $0 { now } else { nil } }
        }

        /// A completion that is recorded under `tag`.
        func completion(_ tag: Int) -> @Sendable (WriteResult) -> Void {
            { self.add(.done(tag, $0?.code)) }
        }
        func promise(_ tag: Int) -> WritePromise { .callback(completion(tag)) }
        func progressPromise(_ tag: Int) -> WritePromise {
            .callback(
                progress: { self.add(.progress(tag, written: $0.written, total: $0.total)) }, completion(tag))
        }
    }
}
