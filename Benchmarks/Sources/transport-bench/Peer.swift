import ArgumentParser

/// A server that is measured.
enum Peer: String, CaseIterable, Codable, ExpressibleByArgument, Sendable {
    case swiftTransport = "swift-transport"
    case nio = "swift-nio"
    case epoll = "c-epoll"
    case uring = "c-uring"

    var title: String {
        switch self {
        case .swiftTransport: "SwiftTransport"
        case .nio: "SwiftNIO"
        case .epoll: "C epoll"
        case .uring: "C io_uring"
        }
    }

    var isC: Bool { self == .epoll || self == .uring }

    /// The executable, found beside this one.
    var binary: String {
        switch self {
        case .swiftTransport: "transport-bench"
        case .nio: "peer-nio"
        case .epoll: "peer-c-epoll"
        case .uring: "peer-c-uring"
        }
    }

    /// - Parameter service: what the library's server does; the others only echo.
    func arguments(host: String, engine: Engine, service: String) -> [String] {
        let address = ["--port", "0", "--host", host]
        switch self {
        case .swiftTransport: return ["serve", service, "--loops", "1", "--engine", engine.rawValue] + address
        case .nio, .epoll, .uring: return address
        }
    }
}
