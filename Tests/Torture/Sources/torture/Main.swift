import Glibc
import SwiftTransport

@main
struct Torture {
    static func main() async {
        let options = Options(CommandLine.arguments)
        say(Machine.report)
        say("seed \(options.seed)")
        var isClean = true
        for engine in options.engines {
            if engine == .uring, !Machine.hasURing {
                say("\(engine.rawValue): not to be had here")
                continue
            }
            let run = Run(engine, options)
            await run.execute()
            isClean = run.report.isClean && isClean
        }
        exit(isClean ? 0 : 1)
    }
}
