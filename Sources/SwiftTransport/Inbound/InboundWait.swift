internal import Synchronization

/// A task that waits for bytes. Brings itself to the loop, and takes itself back when the task is cancelled or its time is over.
final class InboundWait: LoopWork, @unchecked Sendable {
    private let bridge: InboundBridge
    private let loop: EventLoop
    private let cancelled = Atomic<Bool>(false)
    private let deadline: UInt64?
    // Set before the wait is handed to the loop, and the loop's from then on.
    private var continuation: UnsafeContinuation<InboundBridge.Outcome, Never>?
    private var timer: CallbackTimer?

    /// - Parameter limit: how long it waits from now on; `nil` has no end.
    init(_ bridge: InboundBridge, on loop: EventLoop, within limit: Duration?) {
        self.bridge = bridge
        self.loop = loop
        deadline = limit.map { loop.exactTime.advanced(by: $0) }
    }

    var isCancelled: Bool { cancelled.load(ordering: .sequentiallyConsistent) }

    /// Any thread.
    func start(_ continuation: UnsafeContinuation<InboundBridge.Outcome, Never>) {
        self.continuation = continuation
        if loop.isCurrent { bridge.wait(self) } else { loop.post(self) }
    }

    /// Any thread. Either the wait sees the flag when it gets to the loop, or this gets there behind it.
    func cancel() {
        cancelled.store(true, ordering: .sequentiallyConsistent)
        loop.post(ClosureWork { _ in self.bridge.giveUp(self, TransportError(.cancelled)) })
    }

    /// There is nothing to read yet.
    func begin() {
        guard let deadline else { return }
        let timer = CallbackTimer { [unowned self] in self.bridge.giveUp(self, TransportError(.timedOut)) }
        self.timer = timer
        do throws(TransportError) { try timer.arm(on: loop, at: deadline) } catch { bridge.giveUp(self, error) }
    }

    func resume(_ outcome: InboundBridge.Outcome) {
        timer?.disarm(on: loop)
        timer = nil
        continuation?.resume(returning: outcome)
        continuation = nil
    }

    override func run(on loop: EventLoop) { bridge.wait(self) }
    override func reject(_ why: TransportError.Code) {
        guard why == .loopShutDown else { return resume(.failure(TransportError(why, call: .receive))) }
        loop.executor.late.run(on: loop.executor) { self.resume(self.bridge.takeLate()) }
    }
    override var mustArrive: Bool { false }
}
