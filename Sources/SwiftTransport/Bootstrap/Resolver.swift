internal import CTransport
internal import Glibc

/// Turns host names into addresses without ever blocking a loop: getaddrinfo(3) runs on a thread of its own.
enum Resolver {
    /// Addresses of one name that are tried at most.
    static let addressLimit = 16

    /// The addresses of `host` in the resolver's order. A literal address needs no look-up.
    static func resolve(host: String, port: UInt16) async throws(TransportError) -> [SocketAddress] {
        if let literal = literal(host, port) { return [literal] }
        let outcome = await withUnsafeContinuation { continuation in
            lookUp(host: host, port: port) { continuation.resume(returning: $0) }
        }
        return try outcome.get()
    }

    static func literal(_ host: String, _ port: UInt16) -> SocketAddress? {
        do throws(TransportError) { return try SocketAddress(host: host, port: port) } catch { return nil }
    }

    /// Calls `done` once, on the helper thread (or at once when there is none to be had).
    static func lookUp(
        host: String, port: UInt16, _ done: @escaping @Sendable (Result<[SocketAddress], TransportError>) -> Void
    ) {
        let request = Unmanaged.passRetained(Request(host: host, port: port, done: done))
        let result = ct_thread_start("transport-dns", -1, threadBody, request.toOpaque())
        if result != 0 {
            request.release()
            done(.failure(TransportError(call: .pthreadCreate, errno: -result)))
        }
    }

    private final class Request {
        let host: String
        let port: UInt16
        let done: @Sendable (Result<[SocketAddress], TransportError>) -> Void

        init(host: String, port: UInt16, done: @escaping @Sendable (Result<[SocketAddress], TransportError>) -> Void) {
            self.host = host
            self.port = port
            self.done = done
        }

        func run() { done(Resolver.ask(host, port)) }
    }

    /// Asks the system, which may take as long as it likes.
    private static func ask(_ host: String, _ port: UInt16) -> Result<[SocketAddress], TransportError> {
        let subject = SocketAddress.name(of: host, port)
        // C would look up what stands before a zero byte.
        guard !host.utf8.contains(0) else {
            return .failure(TransportError(.invalidAddress, call: .getaddrinfo, errno: EAI_NONAME, subject: subject))
        }
        let addresses = UnsafeMutablePointer<ct_address>.allocate(capacity: addressLimit)
        defer { addresses.deallocate() }
        var systemError: Int32 = 0
        let count = ct_address_resolve(host, port, addresses, Int32(addressLimit), &systemError)
        if count > 0 { return .success((0..<Int(count)).map { SocketAddress(addresses[$0]) }) }
        let error = count == 0 ? EAI_NONAME : count == EAI_SYSTEM && systemError != 0 ? systemError : count
        return .failure(TransportError(call: .getaddrinfo, errno: error, subject: subject))
    }

    private static let threadBody: @convention(c) (UnsafeMutableRawPointer?) -> Void = { context in
        guard let context else { return }
        Unmanaged<Request>.fromOpaque(context).takeRetainedValue().run()
    }
}
