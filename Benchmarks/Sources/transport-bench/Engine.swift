import ArgumentParser
import SwiftTransport

/// Which of its engines the library is asked to use.
enum Engine: String, CaseIterable, ExpressibleByArgument, Sendable {
    case automatic
    case uring
    case epoll

    /// The same in the library's words.
    var choice: EngineChoice {
        switch self {
        case .automatic: .automatic
        case .uring: .only(.uring)
        case .epoll: .only(.epoll)
        }
    }
}
