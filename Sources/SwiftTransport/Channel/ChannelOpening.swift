/// What a channel needs until it is active: who makes its handlers, and who connects it. The loop's thread only.
final class ChannelOpening {
    /// How the making of handlers ended.
    enum Preparation {
        /// They are in the pipeline.
        case ready
        /// The channel was closed before.
        case closed
        /// They could not be made.
        case failed(any Error)
    }

    /// Nobody has asked yet for this channel to be connected, and somebody may.
    var mayConnect = false
    /// Makes the handlers.
    var preparing: Task<Void, Never>?
    /// Told once, when the handlers are there or never will be.
    private var prepared: ((Preparation) -> Void)?
    private var preparation: Preparation?
    /// Takes the end of a connect, once.
    var connected: ((TransportError?) -> Void)?
    var unix: UnixConnect?
    /// Where an engine connects it to.
    var address: SocketAddress?

    /// Calls `body` when the handlers are there, at once if they are.
    func whenPrepared(_ body: @escaping (Preparation) -> Void) {
        if let preparation { body(preparation) } else { prepared = body }
    }

    func tell(_ preparation: Preparation) {
        guard self.preparation == nil else { return }
        self.preparation = preparation
        preparing = nil
        prepared.take()?(preparation)
    }

    /// The channel closes: nothing of this is wanted any more.
    func cancel() {
        preparing?.cancel()
        unix?.giveUp()
        unix = nil
    }
}
