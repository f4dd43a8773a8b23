internal import CTransport
internal import Glibc
internal import Synchronization

/// Turns host names into addresses.
enum Resolver {
    /// Addresses of one name that are tried at most.
    static let addressLimit = 16

    /// The address that `host` already is, if it is one.
    static func literal(_ host: String, _ port: UInt16) -> SocketAddress? {
        do throws(TransportError) { return try SocketAddress(host: host, port: port) } catch { return nil }
    }

    /// Asks the system, which may take as long as it likes. The addresses are in its order.
    @Sendable static func ask(_ host: String, _ port: UInt16) -> ResolverPool.Answer {
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

    /// The addresses of `host`. A literal address needs no look-up. A task that is cancelled does not wait any longer.
    static func resolve(
        host: String, port: UInt16, by pool: ResolverPool = .shared
    ) async throws(TransportError) -> [SocketAddress] {
        if let literal = literal(host, port) { return [literal] }
        let wait = LookUp(host, port, pool)
        let answer = await withTaskCancellationHandler {
            await withUnsafeContinuation { wait.start($0) }
        } onCancel: {
            wait.cancel()
        }
        return try answer.get()
    }

    /// A look-up that a task waits for. Any thread.
    private final class LookUp: Sendable {
        private struct State {
            var continuation: UnsafeContinuation<ResolverPool.Answer, Never>?
            var request: ResolverPool.Request?
            var isCancelled = false
        }
        private let host: String
        private let port: UInt16
        private let pool: ResolverPool
        private let state = Mutex(State())

        init(_ host: String, _ port: UInt16, _ pool: ResolverPool) {
            self.host = host
            self.port = port
            self.pool = pool
        }

        func start(_ continuation: UnsafeContinuation<ResolverPool.Answer, Never>) {
            state.withLock { $0.continuation = continuation }
            let request = pool.lookUp(host: host, port: port) { self.finish($0) }
            let isCancelled = state.withLock { state in
                if state.continuation != nil { state.request = request }
                return state.isCancelled
            }
            if isCancelled { cancel() }
        }

        func cancel() {
            let request = state.withLock { state in
                state.isCancelled = true
                return state.request
            }
            // Before it has begun, beginning finds the flag.
            guard let request, pool.cancel(request) else { return }
            let subject = SocketAddress.name(of: host, port)
            finish(.failure(TransportError(.cancelled, call: .getaddrinfo, subject: subject)))
        }

        private func finish(_ answer: ResolverPool.Answer) {
            let continuation = state.withLock { state in
                state.request = nil
                defer { state.continuation = nil }
                return state.continuation
            }
            continuation?.resume(returning: answer)
        }
    }
}
