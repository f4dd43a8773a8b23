import Glibc
import SwiftTransport

/// What goes wrong in networks, on this kernel.
///
///     namespaces [--short yes] [--engine uring|epoll] [--only NAME]
///
/// This process (`Run`) starts another for each scenario and engine, the driver, in a network namespace of its own; the
/// driver starts those that use the library, the subjects, most of them in namespaces of their own, and misbehaves to them.
/// Namespaces have no name and no file: the kernel takes them away, with all that is in them, when the last process in them
/// has ended, however that ends. Subjects end with their driver.
@main
struct Main {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.first == "subject", arguments.count == 2, let engine = Engine(rawValue: arguments[1]) {
            Subject.main(engine)
        }
        if arguments.first == "inside" { Driver.main(Array(arguments.dropFirst())) }
        Run(Options(arguments)).main()
    }
}

/// Prints at once, also where the output is no terminal.
func say(_ line: String) {
    print(line)
    fflush(nil)
}

/// What a scenario says when something is not as it must be.
struct Wrong: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
    init(call: String, _ number: Int32 = errno) { description = "\(call): \(String(cString: strerror(number)))" }
}

func require(_ holds: Bool, _ what: @autoclosure () -> String) throws {
    if !holds { throw Wrong(what()) }
}

/// Waits for something that nobody announces.
func eventually(_ what: @autoclosure () -> String, _ holds: () throws -> Bool) throws {
    let start = ContinuousClock.now
    while try !holds() {
        try require(ContinuousClock.now - start < Patience.limit, "waited in vain for \(what())")
        usleep(2000)
    }
}

/// How long a broken library may keep a scenario waiting. Nothing that works comes near it.
enum Patience {
    static let limit: Duration = .seconds(60)
    static let seconds = 60
}
