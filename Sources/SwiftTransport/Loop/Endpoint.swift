internal import CTransport

/// What an event loop serves: a connection (see ``Channel``) or a listening socket.
///
/// The loop's slot for it holds a reference to the endpoint from ``open(_:listener:)`` until the CLOSED event, so that an event always
/// meets a living object.
public class Endpoint {
    /// The loop on whose thread everything of this endpoint happens. Any thread may ask.
    public final let eventLoop: EventLoop
    /// The loop as its thread knows it: to compare with, without counting a reference to it.
    private final let loopContext: UnsafeMutableRawPointer
    @exclusivity(unchecked) final var slot: UnsafeMutablePointer<ct_slot>?

    init(eventLoop: EventLoop) {
        self.eventLoop = eventLoop
        loopContext = eventLoop.context
    }

    /// True on the thread of the loop.
    @inline(__always)
    final var isOnLoop: Bool { ct_current_context() == loopContext }

    /// Takes over `descriptor`, also when it fails.
    final func open(_ descriptor: Int32, listener: Bool) throws(TransportError) {
        eventLoop.assertOnLoop()
        let reference = EndpointReference(self)
        let context = reference.retain()
        guard eventLoop.own.phase == .running,
            let slot = ct_slot_open(eventLoop.core, descriptor, listener, context)
        else {
            reference.release()
            closeDescriptor(descriptor)
            throw TransportError(eventLoop.own.phase == .running ? .outOfMemory : .loopShutDown)
        }
        self.slot = slot
        eventLoop.own.channels.insert(self, at: Int(slot.pointee.index))
    }

    /// An event of this endpoint.
    func handle(_ event: ct_event) {}

    /// A graceful shutdown has begun: finish, close, and tell `departure` how it went.
    func leave(_ departure: Departure) {}

    /// The time of the shutdown is over.
    func cutOffForShutdown() {}
}
