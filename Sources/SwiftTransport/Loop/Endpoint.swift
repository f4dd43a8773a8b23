internal import CTransport

/// What an event loop serves: a connection (``Channel``) or a listening socket (``Listener``).
///
/// The loop's slot for it holds a reference to the endpoint from ``open(_:listener:)`` until the CLOSED event, so that an event
/// always meets a living object.
protocol Endpoint: AnyObject {
    /// The loop on whose thread everything of this endpoint happens.
    var eventLoop: EventLoop { get }
    /// What the core knows of it; `nil` before it is opened and once it is closed.
    var slot: UnsafeMutablePointer<ct_slot>? { get set }

    /// The descriptor is closed, and the slot is somebody else's.
    func descriptorClosed()
    /// A graceful shutdown has begun: finish, close, and tell `departure` how it went.
    func leave(_ departure: Departure)
    /// The time of the shutdown is over.
    func cutOffForShutdown()
}

extension Endpoint {
    /// Takes over `descriptor`, also when it fails.
    func open(_ descriptor: Int32, listener: Bool) throws(TransportError) {
        eventLoop.assertOnLoop()
        let reference = EndpointReference<AnyObject>(self)
        let context = reference.retain()
        guard eventLoop.own.phase == .running,
            let slot = ct_slot_open(eventLoop.core, descriptor, listener, context)
        else {
            reference.release()
            closeSocket(descriptor)
            throw TransportError(eventLoop.own.phase == .running ? .outOfMemory : .loopShutDown)
        }
        self.slot = slot
        eventLoop.own.channels.insert(self, at: Int(slot.pointee.index))
    }
}
