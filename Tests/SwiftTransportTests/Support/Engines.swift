import Glibc
import SwiftTransport
import Testing

extension Engine: CustomTestStringConvertible {
    public var testDescription: String { rawValue }

    /// Ends the test case, by name and with the reason, when this machine does not have the engine. That it must not
    /// happen where the kernel has it is `EngineTests`' business.
    func require() throws {
        guard self == .uring, !Engine.uring.isAvailable else { return }
        try Test.cancel("SKIPPED on io_uring: \(Engine.report)")
    }

    /// Set where io_uring is known to be forbidden, such as under Docker's seccomp profile.
    static var isURingExpectedMissing: Bool {
        getenv("SWIFT_TRANSPORT_EXPECT_NO_URING").map { String(cString: $0) } == "1"
    }
}

/// What a scenario runs on: an engine, and a kind of socket.
struct Place: CustomTestStringConvertible, Sendable {
    enum Network: String, CaseIterable, Sendable { case tcp, unix }
    let engine: Engine
    let network: Network

    static let all = Engine.allCases.flatMap { engine in Network.allCases.map { Place(engine: engine, network: $0) } }
    var testDescription: String { "\(engine.rawValue) over \(network.rawValue)" }

    /// Where nobody listens yet: a free port of the kernel's choice, or a fresh name that leaves no file behind.
    func freshAddress() throws -> SocketAddress {
        switch network {
        case .tcp: try SocketAddress(host: "127.0.0.1", port: 0)
        case .unix: try SocketAddress(unixDomainSocketPath: "\0\(Unique.name())")
        }
    }
}

/// Names nobody else has.
enum Unique {
    static func name() -> String { "swift-transport-\(getpid())-\(UInt64.random(in: 0 ... .max))" }
}

/// The suites of this target run one after the other: two cores are few, and counts are easier to believe when nobody
/// else is at work.
@Suite(.serialized, .timeLimit(.minutes(2))) enum Scenarios {}
