import Glibc
import TransportTesting

/// What happened at last in a simulated network.
enum LastEvents {
    private static let count = 80

    static func of(_ trace: String) -> String {
        trace.split(separator: "\n").suffix(count).joined(separator: "\n")
    }

    /// A program that is stopped by a broken invariant or a trap says what happened before. Nothing that is done for that is safe in a
    /// signal handler: when it does not come to its end, the alarm ends the process, as the signal would have.
    static func tellWhenStopped() {
        for number in [SIGABRT, SIGILL, SIGTRAP, SIGSEGV, SIGBUS] {
            signal(number) { number in
                for reset in [SIGABRT, SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGALRM] { signal(reset, SIG_DFL) }
                alarm(5)
                if let network = Clock.network {
                    say("stopped by signal \(number) behind\n\(LastEvents.of(network.trace))")
                }
                raise(number)
            }
        }
    }
}
