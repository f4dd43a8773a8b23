/// Work that is to run at a later time: see ``EventLoop/schedule(after:_:otherwise:)``. Any thread may hold and cancel it.
public struct ScheduledTask: Sendable {
    private let timer: ScheduledTimer

    init(
        loop: EventLoop, deadline: UInt64, body: @escaping @Sendable () -> Void,
        otherwise: (@Sendable (TransportError) -> Void)?
    ) {
        timer = ScheduledTimer(loop, deadline, body, otherwise)
    }

    /// The loop it runs on.
    public var eventLoop: EventLoop { timer.loop }

    /// Takes it back. True when neither of its closures has been called or will be. What they hold is released at once on the
    /// loop's thread, else as soon as the loop gets to it: a cancelled timer keeps nothing alive.
    @discardableResult
    public func cancel() -> Bool { timer.cancel() }

    func arm() { timer.arm() }
}

/// The timer behind a ``ScheduledTask``.
private final class ScheduledTimer: RemoteTimer, @unchecked Sendable {
    @exclusivity(unchecked) private var body: (@Sendable () -> Void)?
    @exclusivity(unchecked) private var otherwise: (@Sendable (TransportError) -> Void)?

    init(
        _ loop: EventLoop, _ deadline: UInt64, _ body: @escaping @Sendable () -> Void,
        _ otherwise: (@Sendable (TransportError) -> Void)?
    ) {
        self.body = body
        self.otherwise = otherwise
        super.init(loop, deadline)
    }

    override func ended(_ error: TransportError?) {
        let (body, otherwise) = (body, otherwise)
        letGo()
        if let error { otherwise?(error) } else { body?() }
    }

    override func letGo() {
        body = nil
        otherwise = nil
    }
}
