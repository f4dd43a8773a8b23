internal import Synchronization

/// What must get to a loop although its mailbox had no memory for it: tried again, in its own order, until there is some or the
/// loop has ended.
final class Undelivered: Sendable {
    static let shared = Undelivered()
    /// That of the thread's network, or of the process.
    static var here: Undelivered { LoopDriver.current?.undelivered ?? shared }

    private struct State {
        var deliveries: [@Sendable () -> Bool] = []
        var isTrying = false
    }
    private let state = Mutex(State())

    private static let pause: Duration = .milliseconds(1)

    /// `deliver` is called, not at once, until it returns true.
    func keep(_ deliver: @escaping @Sendable () -> Bool) {
        let starts = state.withLock { state in
            state.deliveries.append(deliver)
            defer { state.isTrying = true }
            return !state.isTrying
        }
        guard starts else { return }
        // A simulated network has a time of its own.
        if let driver = LoopDriver.current {
            tryLater(driver)
        } else {
            Task.detached { await self.tryUntilDelivered() }
        }
    }

    private func tryLater(_ driver: LoopDriver) {
        driver.wait(Self.pause) { if !self.deliverAll() { self.tryLater(driver) } }
    }

    private func tryUntilDelivered() async {
        repeat { try? await Task.sleep(for: Self.pause) } while !deliverAll()
    }

    /// True when nothing is left.
    private func deliverAll() -> Bool {
        while let next = state.withLock({ $0.deliveries.first }) {
            guard next() else { return false }
            state.withLock { _ = $0.deliveries.removeFirst() }
        }
        return state.withLock { state in
            state.isTrying = !state.deliveries.isEmpty
            return !state.isTrying
        }
    }
}
