import Glibc
import SwiftTransport

/// Something that is done on one engine over one kind of socket, and must come out right.
struct Scenario: Sendable {
    let name: String
    let networks: [Network]
    private let body: @Sendable (Place) async throws -> Void

    init(
        _ name: String, on networks: [Network] = Network.allCases,
        _ body: @escaping @Sendable (Place) async throws -> Void
    ) {
        self.name = name
        self.networks = networks
        self.body = body
    }

    static let all = echoes + ends + pressure + mixtures

    func run(on engine: Engine, _ network: Network) async throws {
        var options = LoopOptions()
        options.engine = .only(engine)
        try await body(Place(network: network, options: options))
    }
}

enum Network: String, CaseIterable, Sendable { case tcp, unix }

/// Where a scenario happens.
struct Place: Sendable {
    let network: Network
    var options: LoopOptions

    /// Calls `body` with a group, and has everything closed afterwards within the time that is allowed.
    func withGroup(
        loops: Int = 2, options: LoopOptions? = nil, _ body: (EventLoopGroup) async throws -> Void
    ) async throws {
        let group = try EventLoopGroup(loops: loops, options: options ?? self.options)
        do { try await body(group) } catch {
            await group.shutdown(within: .zero)
            throw error
        }
        await group.shutdown(within: .seconds(5))
    }

    /// Where nobody listens yet.
    func freshAddress() throws -> SocketAddress {
        switch network {
        case .tcp: try SocketAddress(host: "127.0.0.1", port: 0)
        case .unix: try SocketAddress(unixDomainSocketPath: "\0scenario-\(UInt64.random(in: 0 ... .max))")
        }
    }
}

/// What a scenario says when something is not as it must be.
struct Wrong: Error, CustomStringConvertible {
    let description: String
}

func require(_ holds: Bool, _ what: @autoclosure () -> String) throws {
    if !holds { throw Wrong(description: what()) }
}

/// Waits for something that nobody announces.
func eventually(_ what: String, _ holds: () async throws -> Bool) async throws {
    let start = ContinuousClock.now
    while try await !holds() {
        try require(ContinuousClock.now - start < .seconds(20), "waited in vain for \(what)")
        try await Task.sleep(for: .milliseconds(1))
    }
}

/// Runs blocking code on a thread of its own: the pool has one per core.
func blocking<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await withCheckedThrowingContinuation { continuation in
        startThread { continuation.resume(with: Result { try body() }) }
    }
}

func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Work: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let result = pthread_create(
        &thread, nil,
        { argument in
            Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue().body()
            return nil
        }, Unmanaged.passRetained(Work(body)).toOpaque())
    precondition(result == 0, "no thread to be had")
    pthread_detach(thread)
}
