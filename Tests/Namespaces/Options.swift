import Glibc
import SwiftTransport

/// What the program is asked to do.
struct Options {
    var engines: [Engine] = Engine.allCases
    /// Few connections: some seconds in all.
    var isShort = false
    /// Only scenarios whose name contains it.
    var wanted = ""

    static let usage = """
        namespaces [--short yes] [--engine uring|epoll] [--only NAME]
          --short   yes: with few connections, in some seconds
          --engine  one engine only
          --only    only scenarios whose name contains NAME
        """

    init(_ arguments: [String]) {
        var rest = arguments[...]
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { Self.complain(name) }
            switch (name, Engine(rawValue: value)) {
            case ("--engine", .some(let engine)): engines = [engine]
            case ("--short", _) where value == "yes": isShort = true
            case ("--only", _): wanted = value
            default: Self.complain("\(name) \(value)")
            }
        }
    }

    private static func complain(_ argument: String) -> Never {
        say(argument == "--help" ? usage : "namespaces: cannot make sense of '\(argument)'\n\(usage)")
        exit(argument == "--help" ? 0 : 2)
    }
}
