internal import CTransport

/// An endpoint as the core's events and the loop's own lists know it: one word that counts no reference. The endpoint is
/// alive: its slot holds a reference until the CLOSED event has been handled, and it leaves the lists with that.
struct EndpointReference<Object: AnyObject> {
    private let object: Unmanaged<Object>

    @inline(__always)
    init(_ endpoint: Object) { object = .passUnretained(endpoint) }

    /// What an event of the core carries. Whoever asks for channels knows that the event is one of a channel.
    @inline(__always)
    init(_ context: UnsafeMutableRawPointer) { object = .fromOpaque(context) }

    @inline(__always)
    func with<Answer>(_ body: (Object) -> Answer) -> Answer { object._withUnsafeGuaranteedRef { body($0) } }

    /// The endpoint itself, counted as any reference.
    var endpoint: Object { object.takeUnretainedValue() }

    func isSame(as other: EndpointReference) -> Bool { object.toOpaque() == other.object.toOpaque() }

    // MARK: The slot's own reference

    /// What a slot is given, together with a reference.
    func retain() -> UnsafeMutableRawPointer { object.retain().toOpaque() }

    /// Gives the slot's reference up: the endpoint may be gone when it returns.
    func release() { object.release() }
}

typealias ChannelReference = EndpointReference<Channel>
typealias ListenerReference = EndpointReference<Listener>

extension EndpointReference<AnyObject> {
    /// Where it can be either. Looked up, which takes its time: for what happens once in an endpoint's life.
    var either: (any Endpoint)? {
        let object = endpoint
        return object as? Channel ?? object as? Listener
    }
}
