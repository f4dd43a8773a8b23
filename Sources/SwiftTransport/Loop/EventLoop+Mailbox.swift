internal import CTransport
internal import Glibc

// What reaches a loop from elsewhere, and from itself for later.
extension EventLoop {
    /// False when `work` was rejected: the loop has shut down, or there was no memory to bring it there.
    @discardableResult
    func post(_ work: LoopWork) -> Bool {
        guard let why = offer(work) else { return true }
        guard why == .outOfMemory, work.mustArrive else {
            work.reject(why)
            return false
        }
        // It is the loop's from here on.
        nonisolated(unsafe) let work = work
        Undelivered.here.keep { self.deliver(work) }
        return true
    }

    /// False when it must be tried again.
    private func deliver(_ work: LoopWork) -> Bool {
        let why = offer(work)
        if why == .loopShutDown { work.reject(.loopShutDown) }
        return why != .outOfMemory
    }

    private func offer(_ work: LoopWork) -> TransportError.Code? {
        let message = ct_message(work)
        let why = offer(message)
        if why != nil, let word = message.word { _ = LoopMessage.takeWork(word) }
        return why
    }

    /// Why the loop did not take it: `.loopShutDown` or `.outOfMemory`.
    func offer(_ message: ct_message) -> TransportError.Code? {
        let isOpen = isCurrent && own.phase != .ended
        let result = isOpen ? ct_mailbox_post_local(core, message) : ct_mailbox_post(mailbox, message)
        return result == 0 ? nil : result == -ENOMEM ? .outOfMemory : .loopShutDown
    }
}
