import SwiftTransport
import TransportTesting

/// One run in a simulated network: a few sessions in a weather of their own, all of it drawn from one seed.
struct SimulatedRun: Sendable {
    let seed: UInt64
    var sessions: Int
    var concurrent: Int
    var weather: Weather
    var engine: Engine
    var habits = Habits.all
    let recipe: Recipe
    var isTraced = false
    /// Objects of the run lie elsewhere than they would: a run is the same wherever they do.
    var isScattered = false

    init(seed: UInt64, _ recipe: Recipe = Recipe()) {
        self.seed = seed
        self.recipe = recipe
        var random = Random(seed, 0, 21)
        sessions = random.logarithmic(1, 12)
        concurrent = random.oneIn(4) ? sessions : random.between(1, 4)
        engine = random.flip() ? .uring : .epoll
        weather = Weather(seed: seed)
        habits = Habits.draw(&random)
        if let limit = recipe.concurrent { concurrent = limit }
        if let parts = recipe.parts {
            weather.keep(parts)
            habits.formIntersection(Habits(Habits.names.filter { parts.contains($0.name) }.map(\.habit)))
        }
    }

    /// All that could be left out, and is not.
    var parts: [String] { weather.names + Habits.names.filter { habits.contains($0.habit) }.map(\.name) }

    struct Outcome: Sendable {
        var problems: [String]
        var hash: UInt64 = 0
        var sessions = 0
        var elapsed = Duration.zero
        var statistics: SimulationStatistics?
        var cells = SimulatedCells()
        var trace = ""
    }

    func execute() async -> Outcome {
        var options = SimulationOptions()
        options.engine = engine
        let report = Report(title: "seed \(seed)", keepsLines: true)
        var outcome: Outcome
        do {
            outcome = try await SimulatedNetwork.run(seed: seed, options: options) { network in
                Clock.network = network
                return await self.body(network, report)
            }
        } catch {
            outcome = Outcome(problems: ["\(error)"])
        }
        Clock.network = nil
        outcome.problems += report.lines
        outcome.problems += Census.living.map { "\($0) still alive" }
        if !outcome.problems.isEmpty { Census.writeOff() }
        return outcome
    }

    private func body(_ network: SimulatedNetwork, _ report: Report) async -> Outcome {
        let scattered = isScattered ? Scattered() : nil
        defer { withExtendedLifetime(scattered) {} }
        let servers = network.addHost("servers")
        let clients = network.addHost("clients")
        var options = Options([])
        options.seed = seed
        options.sessions = sessions
        options.only = recipe.sessions
        options.concurrent = concurrent
        // Longer than the longest drain: a reset may be lost, and then nobody tells.
        options.patience = 400
        let run = Run(
            engine, options,
            in: Setting(
                servers: servers, clients: clients, overture: weather.overture),
            isStormy: weather.isStormy,
            losesPackets: weather.losesPackets, refusesMemory: weather.has("failing allocations"),
            endsByItself: weather.has("failing receives") || weather.has("failing watches"),
            losesCompletions: weather.has("dropped completions"),
            hasTrueTime: !weather.catastrophes.contains(.freeze), habits: habits, report: report
        )
        let raging = Task { await weather.rage(in: network, servers, clients) }
        let epoch = Epoch(run, number: seed, sessions: sessions, concurrent: concurrent) {
            network.faults = weather.faults
        }
        let ended = AtomicFlag()
        let running = Task {
            await epoch.run()
            ended.set()
        }
        while !ended.value {
            await Clock.sleep(.milliseconds(500))
            // The network has given the run up.
            if Task.isCancelled { return outcome(network, run, report) }
            run.watch()
            // What is still there has had its weather.
            if network.elapsed > .seconds(30) { raging.cancel() }
            if network.elapsed > .seconds(3600) {
                report.hang(epoch.state)
                return outcome(network, run, report)
            }
        }
        raging.cancel()
        await running.value
        await raging.value
        network.faults = SimulatedFaults()
        await settle(network, [servers, clients], report)
        return outcome(network, run, report)
    }

    private func outcome(_ network: SimulatedNetwork, _ run: Run, _ report: Report) -> Outcome {
        Outcome(
            problems: [], hash: network.traceHash, sessions: run.total.sessions, elapsed: network.elapsed,
            statistics: network.statistics, cells: network.cells,
            trace: report.isClean && !isTraced ? "" : network.trace)
    }

    /// The loops have ended: what their kernels still have of it goes in its own time.
    private func settle(_ network: SimulatedNetwork, _ hosts: [SimulatedHost], _ report: Report) async {
        for _ in 0..<40 {
            if hosts.allSatisfy({ $0.connections == 0 && $0.openDescriptors == 0 }) { return }
            await Clock.sleep(.seconds(60))
        }
        for host in hosts {
            report.leak(
                "\(host.openDescriptors) descriptors and \(host.connections) connections of \(host.name) after 40 minutes"
            )
        }
    }
}
