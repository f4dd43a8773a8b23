internal import CSimulation
internal import CTransport
internal import Synchronization

extension SimulatedNetwork {
    /// Runs `body` in a new network, on a thread of its own. When it has returned, loops that are still there are ended.
    ///
    /// - Parameters:
    ///   - seed: decides everything. Two runs with the same one do the same.
    ///   - options: what is simulated. Default: an engine by the seed, no faults.
    ///   - body: the test.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws; ``SimulationError/stuck(seed:trace:)`` when it waits for something that never happens.
    public static func run<Result: Sendable>(
        seed: UInt64, options: SimulationOptions = SimulationOptions(),
        _ body: @escaping @Sendable (SimulatedNetwork) async throws -> Result
    ) async throws -> Result {
        try await withUnsafeThrowingContinuation { continuation in
            let run = Run(seed, options) { network in
                let outcome = await Outcome(body, network)
                return { continuation.resume(with: outcome.result) }
            } stuck: { error in
                continuation.resume(throwing: error)
            }
            run.start()
        }
    }

    private struct Outcome<Value: Sendable>: Sendable {
        let result: Swift.Result<Value, any Error>

        init(_ body: @Sendable (SimulatedNetwork) async throws -> Value, _ network: SimulatedNetwork) async {
            do { result = .success(try await body(network)) } catch { result = .failure(error) }
        }
    }
}

/// A run: its thread, and what is told at its end.
private final class Run: @unchecked Sendable {
    private let seed: UInt64
    private let options: SimulationOptions
    private let body: @Sendable (SimulatedNetwork) async -> @Sendable () -> Void
    private let stuck: @Sendable (any Error) -> Void
    private var tell: (@Sendable () -> Void)?

    private static let hooked: Void = sim_jobs_hook()

    init(
        _ seed: UInt64, _ options: SimulationOptions,
        _ body: @escaping @Sendable (SimulatedNetwork) async -> @Sendable () -> Void,
        stuck: @escaping @Sendable (any Error) -> Void
    ) {
        self.seed = seed
        self.options = options
        self.body = body
        self.stuck = stuck
    }

    func start() {
        Self.hooked
        let context = Unmanaged.passRetained(self)
        let result = ct_thread_start(
            "simulation", -1, { Unmanaged<Run>.fromOpaque($0!).takeRetainedValue().perform() }, context.toOpaque())
        guard result != 0 else { return }
        context.release()
        stuck(SimulationError.noThread(errno: -result))
    }

    /// The body of the thread.
    private func perform() {
        let network = SimulatedNetwork(seed: seed, options: options)
        let scheduler = network.scheduler
        scheduler.enter()
        Task(executorPreference: scheduler.executor) { [self] in
            tell = await body(network)
        }
        while tell == nil && scheduler.step() {}
        let trace = network.trace
        let hasEnded = network.windUp()
        scheduler.leave()
        // Loops that are left hold on to the kernel they were made with.
        if !hasEnded { _ = Unmanaged.passRetained(network) }
        if tell == nil {
            stuck(SimulationError.stuck(seed: seed, trace: trace))
        } else if !hasEnded {
            stuck(SimulationError.loopsLeft(seed: seed, trace: trace))
        } else {
            tell?()
        }
    }
}
