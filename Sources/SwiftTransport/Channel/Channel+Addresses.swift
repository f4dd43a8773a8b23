internal import CTransport

// Where the two ends of a connection are. The kernel is asked once, when somebody wants to know.
extension Channel {
    /// The address of this end. `nil` when the channel was closed before anybody asked. Any thread; handlers have it without
    /// waiting: ``ChannelContext/localAddress``.
    public func localAddress() async -> SocketAddress? {
        await eventLoop.run { self.knownLocalAddress } ?? nil
    }

    /// The address of the peer. `nil` when the connection was over before anybody asked. Any thread; handlers have it without
    /// waiting: ``ChannelContext/remoteAddress``.
    public func remoteAddress() async -> SocketAddress? {
        await eventLoop.run { self.knownRemoteAddress } ?? nil
    }

    /// The loop's thread.
    var knownLocalAddress: SocketAddress? { known(\.local, ct_socket_local_address) }
    var knownRemoteAddress: SocketAddress? { known(\.remote, ct_socket_peer_address) }

    private func known(
        _ end: ReferenceWritableKeyPath<ChannelAddresses, SocketAddress?>,
        _ ask: (Int32, UnsafeMutablePointer<ct_address>) -> Int32
    ) -> SocketAddress? {
        eventLoop.assertOnLoop()
        if let known = own.addresses?[keyPath: end] { return known }
        var raw = ct_address()
        guard own.lifecycle.phase != .opening, let slot, ask(slot.pointee.fd, &raw) == 0 else { return nil }
        let addresses = own.addresses ?? ChannelAddresses()
        own.addresses = addresses
        addresses[keyPath: end] = SocketAddress(raw)
        return addresses[keyPath: end]
    }
}

/// What the kernel has said about the ends of a connection; kept apart, because most channels are never asked.
final class ChannelAddresses {
    var local: SocketAddress?
    var remote: SocketAddress?
}
