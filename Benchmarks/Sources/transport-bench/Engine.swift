import ArgumentParser

/// Which of its engines the library is asked to use.
enum Engine: String, CaseIterable, ExpressibleByArgument, Sendable {
    case automatic
    case uring
    case epoll
}
