import Glibc
import SwiftTransport
import TransportTesting

/// The whole program.
public enum Torture {
    /// Ends the process: with 0 when nothing was wrong.
    public static func main() async -> Never {
        let options = Options(CommandLine.arguments)
        if let seeds = options.seeds {
            if options.shrinks {
                var supervisor = Supervisor(options, seeds)
                exit(supervisor.execute() ? 0 : 1)
            }
            SimulatedNetwork.speakAtCrashes()
            exit(
                await Campaign(
                    seeds: seeds, recipe: options.recipe, isRepeated: options.isRepeated, isTraced: options.isTraced,
                    endsAtFirst: options.endsAtFirst, tellsCells: options.tellsCells
                ).execute().rawValue)
        }
        if let pinned = options.pinned {
            SimulatedNetwork.speakAtCrashes()
            exit(await Pinned.execute(pinned) ? 0 : 1)
        }
        if let crowd = options.crowd {
            var isClean = true
            for engine in options.engines { isClean = await Crowd(count: crowd, engine: engine).execute() && isClean }
            exit(isClean ? 0 : 1)
        }
        say(Engine.report)
        say("seed \(options.seed)")
        var isClean = true
        for engine in options.engines {
            if engine == .uring, !Engine.uring.isAvailable {
                say("\(engine.rawValue): not to be had here")
                continue
            }
            let run = Run(engine, options)
            await run.execute()
            isClean = run.report.isClean && isClean
        }
        exit(isClean ? 0 : 1)
    }

    /// For tests: what is wrong with a run of each of these seeds in a simulated network.
    public static func simulate(seeds: ClosedRange<UInt64>) async -> Bool {
        await Campaign(seeds: seeds).execute() == .clean
    }
}
