import Glibc
import SwiftTransport

/// Runs every scenario on one engine, one after the other:
///
///     scenarios uring|epoll [NAME]      (NAME: only those whose name contains it)
///     scenarios probe                   (prints what the library has found out about this kernel)
@main
struct Main {
    static func main() async {
        let arguments = CommandLine.arguments.dropFirst()
        if arguments.first == "probe" {
            print(Engine.report)
            return
        }
        guard let engine = arguments.first.flatMap(Engine.init(rawValue:)) else {
            print("usage: scenarios uring|epoll [NAME], or scenarios probe")
            exit(2)
        }
        let wanted = arguments.dropFirst().first
        var passed = 0
        var failed = 0
        for scenario in Scenario.all where wanted.map({ scenario.name.contains($0) }) ?? true {
            for network in scenario.networks {
                let title = "\(scenario.name) (\(network.rawValue))"
                Watchdog.watch(title)
                do {
                    try await scenario.run(on: engine, network)
                    passed += 1
                } catch {
                    failed += 1
                    say("FAILED \(title): \(error)")
                }
            }
        }
        say("scenarios: \(passed) ok, \(failed) failed")
        exit(failed == 0 && passed > 0 ? 0 : 1)
    }
}

/// Prints at once, also where the output is no terminal.
func say(_ line: String) {
    print(line)
    fflush(nil)
}
