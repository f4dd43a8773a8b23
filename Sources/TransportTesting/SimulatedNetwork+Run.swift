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
    /// - Throws: what `body` throws; ``SimulationError/stuck(seed:trace:)`` when it waits for something that never happens, and
    ///   ``SimulationError/tooLong(seed:trace:)`` beyond the limit of `options`. The task of `body` is cancelled then, and when
    ///   the calling task is.
    public static func run<Result: Sendable>(
        seed: UInt64, options: SimulationOptions = SimulationOptions(),
        _ body: @escaping @Sendable (SimulatedNetwork) async throws -> Result
    ) async throws -> Result {
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { continuation in
                let run = Run(seed, options, cancellation) { network in
                    let outcome = await Outcome(body, network)
                    return { continuation.resume(with: outcome.result) }
                } failed: { error in
                    continuation.resume(throwing: error)
                }
                run.start()
            }
        } onCancel: {
            cancellation.cancel()
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
    private let failed: @Sendable (any Error) -> Void
    private let cancellation: Cancellation
    private var tell: (@Sendable () -> Void)?

    private static let hooked: Void = sim_jobs_hook()

    init(
        _ seed: UInt64, _ options: SimulationOptions, _ cancellation: Cancellation,
        _ body: @escaping @Sendable (SimulatedNetwork) async -> @Sendable () -> Void,
        failed: @escaping @Sendable (any Error) -> Void
    ) {
        self.seed = seed
        self.options = options
        self.body = body
        self.failed = failed
        self.cancellation = cancellation
    }

    func start() {
        Self.hooked
        let context = Unmanaged.passRetained(self)
        let result = ct_thread_start(
            "simulation", -1, { Unmanaged<Run>.fromOpaque($0!).takeRetainedValue().perform() }, context.toOpaque())
        guard result != 0 else { return }
        context.release()
        failed(SimulationError.noThread(errno: -result))
    }

    /// The body of the thread.
    private func perform() {
        let network = SimulatedNetwork(seed: seed, options: options)
        let scheduler = network.scheduler
        scheduler.enter()
        let task = Task(executorPreference: scheduler.executor) { [self] in
            tell = await body(network)
        }
        cancellation.began(task)
        var failure = runBody(network)
        // Whoever waits for ever has a chance to clean up.
        if failure != nil { task.cancel() }
        // It takes as long as a short run.
        let trace = scheduler.isIdle ? "" : network.trace
        let hasEnded = network.windUp()
        scheduler.leave()
        // Loops that are left hold on to the kernel they were made with.
        if !hasEnded {
            _ = Unmanaged.passRetained(network)
            failure = failure ?? .loopsLeft(seed: seed, trace: trace)
        }
        if let failure { failed(failure) } else { tell?() }
    }

    /// Why it did not come to its end.
    private func runBody(_ network: SimulatedNetwork) -> SimulationError? {
        let scheduler = network.scheduler
        while tell == nil {
            guard scheduler.steps < options.stepLimit else { return .tooLong(seed: seed, trace: network.trace) }
            guard scheduler.step() else { return .stuck(seed: seed, trace: network.trace) }
            if let loop = scheduler.spinning {
                return .spinning(seed: seed, loop: network.name(of: loop), trace: network.trace)
            }
        }
        return nil
    }
}

/// Whoever waits for a run may be cancelled, before it begins too. Any thread.
private final class Cancellation: Sendable {
    private let state = Mutex<(task: Task<Void, Never>?, isCancelled: Bool)>((nil, false))

    func began(_ task: Task<Void, Never>) {
        let isCancelled = state.withLock { state in
            state.task = task
            return state.isCancelled
        }
        if isCancelled { task.cancel() }
    }

    func cancel() {
        let task = state.withLock { state in
            state.isCancelled = true
            return state.task
        }
        task?.cancel()
    }
}
