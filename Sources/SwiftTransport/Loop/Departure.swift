/// A graceful shutdown on one loop: of everything there, or of one server's connections. Who takes part is told, has time until
/// the deadline, and is counted by how it ended. The loop's thread only.
final class Departure {
    private let loop: EventLoop
    private(set) var report = ShutdownReport()
    private var members = 0
    private var deadline = UInt64.max
    private var timer: CallbackTimer?
    private let belongs: (any Endpoint) -> Bool
    /// Called once, when the last member is gone.
    private var onEmpty: ((ShutdownReport) -> Void)?

    init(on loop: EventLoop, of belongs: @escaping (any Endpoint) -> Bool) {
        self.loop = loop
        self.belongs = belongs
    }

    /// Tells everybody. What is not over after `duration` is cut off.
    func begin(within duration: Duration) {
        let all = (loop.own.channels.all + loop.own.unconnected.all).filter(belongs)
        limit(to: duration)
        for endpoint in all { endpoint.leave(self) }
        if duration <= .zero { cutOff() }
    }

    /// `body` is called when the last member is gone, at once if there is none.
    func whenEmpty(_ body: @escaping (ShutdownReport) -> Void) {
        onEmpty = body
        endIfEmpty()
    }

    /// Only ever earlier: a second shutdown in less time cuts the first one short.
    func limit(to duration: Duration) {
        let end = loop.turnTime.advanced(by: duration)
        guard end < deadline else { return }
        deadline = end
        timer?.disarm(on: loop)
        let timer = CallbackTimer { [unowned self] in self.cutOff() }
        self.timer = timer
        // Without a timer there is no later.
        do throws(TransportError) { try timer.arm(on: loop, at: end) } catch { cutOff() }
    }

    private func cutOff() {
        for endpoint in loop.own.channels.all where belongs(endpoint) { endpoint.cutOffForShutdown() }
    }

    func joined() { members += 1 }

    func left(_ how: ShutdownReport) {
        report.add(how)
        members -= 1
        endIfEmpty()
    }

    private func endIfEmpty() {
        guard members == 0, let body = onEmpty else { return }
        onEmpty = nil
        timer?.disarm(on: loop)
        timer = nil
        body(report)
    }
}

extension EventLoop {
    /// Has a part of the loop's channels leave, and returns when they are gone. Any thread.
    func depart(within duration: Duration, _ belongs: @escaping @Sendable (any Endpoint) -> Bool) async
        -> ShutdownReport
    {
        await withUnsafeContinuation { continuation in
            let body: @Sendable (EventLoop) -> Void = { loop in
                let departure = Departure(on: loop, of: belongs)
                departure.begin(within: duration)
                // The timer must not outlive its owner.
                departure.whenEmpty { report in
                    _ = departure
                    continuation.resume(returning: report)
                }
            }
            if isCurrent { body(self) } else { post(DepartureWork(body) { continuation.resume(returning: $0) }) }
        }
    }
}

private final class DepartureWork: LoopWork {
    private let body: (EventLoop) -> Void
    private let answer: (ShutdownReport) -> Void
    init(_ body: @escaping (EventLoop) -> Void, _ answer: @escaping (ShutdownReport) -> Void) {
        self.body = body
        self.answer = answer
    }
    override func run(on loop: EventLoop) { body(loop) }
    /// A loop that has ended has no channels.
    override func reject(_ why: TransportError.Code) { answer(ShutdownReport()) }
}
