import Glibc
import SwiftTransport

/// All scenarios on all engines, each in a process and a namespace of its own, so that nothing of one is there in the next.
struct Run {
    private let options: Options

    init(_ options: Options) { self.options = options }

    func main() -> Never {
        let way: [String]
        do { way = try Namespace.way() } catch {
            // That is not the library's fault.
            say("namespaces: SKIPPED, no network namespaces are to be had here: \(error)")
            exit(0)
        }
        say(Engine.report)
        var passed = 0
        var failed = 0
        let wanted = Scenario.all.filter { $0.name.contains(options.wanted) && !(options.isShort && $0.isLong) }
        for scenario in wanted {
            for engine in options.engines where engine != .uring || Engine.uring.isAvailable {
                let size = options.isShort ? "short" : "full"
                let words = way + [Namespace.program, "inside", scenario.name, engine.rawValue, size]
                do {
                    try Tool.run(words)
                    passed += 1
                } catch {
                    failed += 1
                    say("FAILED \(scenario.name), \(engine.rawValue): \(error)")
                }
            }
        }
        say("namespaces: \(passed) ok, \(failed) failed")
        exit(failed == 0 && passed > 0 ? 0 : 1)
    }
}
