internal import CTransport
internal import Glibc

/// Makes sockets that listen.
enum ListeningSocket {
    /// Without a backlog it is bound and does not listen.
    ///
    /// - Parameter replacing: the file of a Unix domain socket that was left behind.
    static func open(
        _ address: SocketAddress, sharing: Bool, backlog: Int32?, replacing: Bool = false,
        _ configuration: ChannelConfiguration
    ) throws(TransportError) -> Int32 {
        do throws(TransportError) {
            return try make(address, sharing: sharing, backlog, replacing, configuration)
        } catch {
            throw error.about(address.description)
        }
    }

    private static func make(
        _ address: SocketAddress, sharing: Bool, _ backlog: Int32?, _ replacing: Bool,
        _ configuration: ChannelConfiguration
    ) throws(TransportError) -> Int32 {
        var failure = ct_failure()
        let descriptor = ct_socket_open(address.family, &failure)
        guard descriptor >= 0 else { throw TransportError(failure) }
        do throws(TransportError) {
            if !address.isUnix {
                try checked(.setsockopt, ct_socket_set_int(descriptor, SOL_SOCKET, SO_REUSEADDR, 1))
                if sharing { try checked(.setsockopt, ct_socket_set_int(descriptor, SOL_SOCKET, SO_REUSEPORT, 1)) }
            }
            try configuration.apply(to: descriptor, isUnix: address.isUnix)
            var raw = address.raw
            var bound = ct_socket_bind(descriptor, &raw, &failure)
            if bound == -EADDRINUSE, replacing, SocketFile.removeStale(at: address) {
                bound = ct_socket_bind(descriptor, &raw, &failure)
            }
            guard bound == 0 else { throw TransportError(failure) }
            if let backlog, ct_socket_listen(descriptor, backlog, &failure) < 0 {
                if replacing { SocketFile(address)?.remove() }
                throw TransportError(failure)
            }
        } catch {
            closeSocket(descriptor)
            throw error
        }
        return descriptor
    }

    static func address(of descriptor: Int32) throws(TransportError) -> SocketAddress {
        var address = ct_address()
        try checked(.getsockname, ct_socket_local_address(descriptor, &address))
        return SocketAddress(address)
    }
}
