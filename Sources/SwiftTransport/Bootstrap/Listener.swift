internal import CTransport
internal import Glibc

/// One listening socket on one loop: accepts, and survives running out of descriptors. The loop's thread only.
final class Listener: Endpoint, @unchecked Sendable {
    let eventLoop: EventLoop
    var slot: UnsafeMutablePointer<ct_slot>?

    /// How long accepting pauses when there are no descriptors, unless one is freed before.
    static let pauseWithoutDescriptors: Duration = .milliseconds(100)

    private let factory: ChildFactory
    /// What goes with it when it closes.
    private let file: SocketFile?
    private let onClosed: @Sendable () -> Void
    private var isClosing = false
    private var isPaused = false
    private var timer: CallbackTimer?

    init(
        eventLoop: EventLoop, factory: ChildFactory, file: SocketFile?, onClosed: @escaping @Sendable () -> Void
    ) {
        self.factory = factory
        self.file = file
        self.onClosed = onClosed
        self.eventLoop = eventLoop
    }

    /// Takes over `descriptor`, which listens. Until ``accept()`` connections wait in the kernel.
    func start(_ descriptor: Int32) throws(TransportError) { try open(descriptor, listener: true) }

    func close() {
        guard !isClosing, let slot else { return }
        isClosing = true
        file?.remove()
        timer?.disarm(on: eventLoop)
        eventLoop.own.pausedListeners.removeAll { $0 === self }
        ct_slot_close(eventLoop.core, slot)
    }

    func leave(_ departure: Departure) { close() }

    /// It closes at once, so there is nothing to cut off.
    func cutOffForShutdown() {}

    func accept() {
        guard !isClosing, let slot else { return }
        let result = ct_accept_start(eventLoop.core, slot)
        guard result < 0 else { return }
        factory.report(TransportError(call: .accept, errno: -result))
        pause()
    }

    func accepted(_ event: ct_event) {
        if event.result >= 0 {
            if isClosing { closeSocket(event.result) } else { factory.adopt(event.result, acceptedOn: eventLoop) }
        }
        guard event.flags & UInt16(CT_EVENT_MORE) == 0, !isClosing else { return }
        switch event.result {
        case 0...: accept()
        // The connection was gone before it was accepted, or the wait was interrupted: nothing of ours.
        case -ECONNABORTED, -EINTR, -EAGAIN, -EPROTO, -ENETDOWN, -EHOSTUNREACH, -ENETUNREACH, -ECANCELED: accept()
        default:
            factory.report(TransportError(call: .accept, errno: -event.result))
            pause()
        }
    }

    /// EMFILE, ENFILE or no memory: trying again at once would spin. Goes on when a descriptor of this loop is freed, or
    /// after a while, because others may free one too.
    private func pause() {
        guard !isPaused else { return }
        isPaused = true
        eventLoop.own.pausedListeners.append(self)
        let timer = CallbackTimer { [unowned self] in self.resumeAccepting() }
        self.timer = timer
        do throws(TransportError) {
            try timer.arm(on: eventLoop, at: eventLoop.turnTime.advanced(by: Self.pauseWithoutDescriptors))
        } catch {
            // Then as often as the loop turns: dear, but who waits to be accepted has nobody else.
            factory.report(error.of(.accept))
            eventLoop.post(ClosureWork { _ in self.resumeAccepting() })
        }
    }

    func resumeAccepting() {
        guard isPaused else { return }
        isPaused = false
        timer?.disarm(on: eventLoop)
        timer = nil
        eventLoop.own.pausedListeners.removeAll { $0 === self }
        accept()
    }

    func descriptorClosed() {
        guard let slot else { return }
        self.slot = nil
        eventLoop.own.channels.remove(at: Int(slot.pointee.index))
        onClosed()
        eventLoop.descriptorFreed()
        ListenerReference(self).release()
    }
}
