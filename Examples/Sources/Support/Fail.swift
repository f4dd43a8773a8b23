import Glibc

/// Ends the program with one line on standard error: an error thrown out of `main` would print a backtrace instead.
public func fail(_ reason: Any) -> Never {
    let line = "\(CommandLine.arguments[0]): \(reason)\n"
    _ = line.withCString { write(STDERR_FILENO, $0, strlen($0)) }
    exit(1)
}
