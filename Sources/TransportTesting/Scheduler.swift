internal import CSimulation
internal import CTransport
internal import Glibc
internal import SwiftTransport
internal import Synchronization

/// Who is next: of the loops that have something to do, the tasks that may go on and the things that happen in the network, one at a
/// time, chosen by the seed. When nobody has anything to do, time passes. Belongs to one thread.
final class Scheduler: @unchecked Sendable {
    private let world: OpaquePointer
    private var loops: [SimulatedLoop] = []
    private var jobs: [Job] = []
    private var sleepers: [Sleeper] = []
    private var order: UInt64 = 0
    private let start: UInt64
    private var driver: LoopDriver?
    /// The run has ended. Who is left over may still ask for this and that, and nothing comes of it.
    let isOver = Atomic<Bool>(false)
    /// For tasks that prefer no executor of their own.
    let executor = SimulationExecutor()
    /// Jobs from other threads: tasks that waited for something outside of the network.
    private let arrivals = Mutex<[UnownedJob]>([])
    private let patience: Duration
    private let stepLimit: Int
    /// How many there were.
    private(set) var steps = 0
    /// A loop that takes turn after turn for nothing.
    private(set) var spinning: SimulatedLoop?

    static let turnsForNothingAtMost = 10_000

    struct Job {
        let job: UnownedJob
        let host: sim_host
    }

    /// Something that waits for a time.
    private struct Sleeper {
        let deadline: UInt64
        let order: UInt64
        /// With false when the run has ended before its time.
        let wake: (Bool) -> Void
    }

    init(_ world: OpaquePointer, _ options: SimulationOptions) {
        self.world = world
        patience = options.patience
        stepLimit = options.stepLimit
        start = sim_now(world)
    }

    // MARK: The thread

    func enter() {
        executor.scheduler = self
        let driver = LoopDriver(
            make: { [unowned self] index, options throws(TransportError) in try self.makeLoop(index, options) },
            visit: { [unowned self] in self.visit($0) },
            wait: { [unowned self] delay, body in
                self.wake(at: self.now + delay.nanoseconds) { if $0 { body() } }
            })
        self.driver = driver
        sim_world_set_driver(world, driver.pointer)
        sim_world_take_jobs(
            world,
            { context, job in
                Unmanaged<Scheduler>.fromOpaque(context!)._withUnsafeGuaranteedRef {
                    $0.take(unsafeBitCast(job, to: UnownedJob.self))
                }
            }, Unmanaged.passUnretained(self).toOpaque())
        sim_world_enter(world)
    }

    func leave() {
        sim_world_take_jobs(world, nil, nil)
        sim_world_leave(world)
        sim_world_set_driver(world, nil)
        driver = nil
        executor.scheduler = nil
        isOver.store(true, ordering: .relaxed)
        // Tasks that are left go on elsewhere.
        for job in jobs { executor.passOn(job.job) }
        jobs = []
        let left = sleepers
        sleepers = []
        for sleeper in left { sleeper.wake(false) }
    }

    func assertInside() {
        precondition(
            isInside || isOver.load(ordering: .relaxed),
            "a simulated network is used from outside: only the body of its run, and what that starts, may do so")
    }

    /// False on other threads, and when the run is over.
    var isInside: Bool { driver != nil && ct_kernel_driver() == driver?.pointer }

    var now: UInt64 { sim_now(world) }
    var elapsed: Duration { .nanoseconds(Int64(now - start)) }

    // MARK: Loops and tasks

    private func makeLoop(_ index: Int, _ options: LoopOptions) throws(TransportError) -> EventLoop {
        let made = try SimulatedLoop(index, options, in: world, on: sim_world_current_host(world))
        loops.append(made)
        return made.stepped.loop
    }

    private func visit(_ loop: EventLoop) {
        if let known = loops.first(where: { $0.stepped.loop === loop }) { sim_world_set_host(world, known.host) }
    }

    func take(_ job: UnownedJob) { jobs.append(Job(job: job, host: sim_world_current_host(world))) }

    /// From another thread.
    func arrive(_ job: UnownedJob) { arrivals.withLock { $0.append(job) } }

    private func takeArrivals() {
        let arrived = arrivals.withLock { arrived in
            defer { arrived = [] }
            return arrived
        }
        for job in arrived { take(job) }
        if sim_world_was_posted_to(world) { for loop in loops { loop.wasPostedTo = true } }
    }

    /// Nothing is left to do here. Somebody outside may have something.
    private func waitForArrivals() -> Bool {
        let end = ContinuousClock.now + patience
        while ContinuousClock.now < end {
            takeArrivals()
            if !jobs.isEmpty || loops.contains(where: \.isReady) { return true }
            usleep(1000)
        }
        return false
    }

    func wake(at deadline: UInt64, _ wake: @escaping (Bool) -> Void) {
        sleepers.append(Sleeper(deadline: deadline, order: order, wake: wake))
        order += 1
    }

    /// The time of the world that is so long after its beginning.
    func time(of offset: Duration) -> UInt64 { start + offset.nanoseconds }

    func sleep(until deadline: Duration) async {
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
            // Who is left over when the run has ended uses what is not there any more, and never goes on.
            guard isInside else { return }
            wake(at: time(of: deadline)) { if $0 { continuation.resume() } }
        }
    }

    func setFrozen(_ frozen: Bool, _ host: sim_host) {
        for loop in loops where loop.host == host { loop.isFrozen = frozen }
    }

    // MARK: Steps

    /// Does one thing. False when there is nothing left that could happen.
    func step() -> Bool {
        steps += 1
        takeArrivals()
        var ready = jobs.isEmpty ? 0 : 1
        for loop in loops where loop.isReady { ready += 1 }
        guard ready > 0 else { return passTime() || waitForArrivals() }
        var chosen = Int(sim_draw(world, UInt32(ready)))
        if !jobs.isEmpty {
            if chosen == 0 {
                runJob()
            } else {
                chosen -= 1
                runLoop(chosen)
            }
        } else {
            runLoop(chosen)
        }
        sim_advance(world, now + 1_000 + UInt64(sim_draw(world, 10_000)))
        wakeSleepers()
        return true
    }

    private func runJob() {
        let job = jobs.remove(at: Int(sim_draw(world, UInt32(jobs.count))))
        sim_world_set_host(world, job.host)
        job.job.runSynchronously(on: executor.asUnownedTaskExecutor())
    }

    private func runLoop(_ chosen: Int) {
        var chosen = chosen
        for (index, loop) in loops.enumerated() where loop.isReady {
            if chosen == 0 {
                loop.turn()
                if loop.turnsForNothing >= Self.turnsForNothingAtMost { spinning = loop }
                if loop.stepped.hasFinished {
                    sim_loop_forget(loop.native)
                    loops.remove(at: index)
                }
                return
            }
            chosen -= 1
        }
    }

    private func passTime() -> Bool {
        var next = sim_next_event(world)
        for loop in loops where !loop.isFrozen { next = min(next, sim_loop_deadline(loop.native)) }
        for sleeper in sleepers { next = min(next, sleeper.deadline) }
        guard next != .max else { return false }
        sim_advance(world, next)
        wakeSleepers()
        return true
    }

    private func wakeSleepers() {
        guard sleepers.contains(where: { $0.deadline <= now }) else { return }
        let due = sleepers.filter { $0.deadline <= now }
            .sorted { ($0.deadline, $0.order) < ($1.deadline, $1.order) }
        sleepers.removeAll { $0.deadline <= now }
        for sleeper in due { sleeper.wake(true) }
    }

    /// Every loop has ended, and nobody wants to go on.
    var isIdle: Bool { loops.isEmpty && jobs.isEmpty }

    /// Ends every loop, and lets what is under way come to its end. False when a loop does not end.
    func windUp() -> Bool {
        for loop in loops {
            loop.isFrozen = false
            loop.turnsForNothing = 0
            loop.stepped.shutDown()
        }
        // What is left then belongs to tasks that wait for ever, and to connections whose end nobody waits for.
        let end = now + 300_000_000_000
        let (sum, isBeyond) = steps.addingReportingOverflow(stepLimit)
        let lastStep = isBeyond ? Int.max : sum
        spinning = nil
        while !isIdle, spinning == nil, now < end, steps < lastStep, step() {}
        return loops.isEmpty
    }
}

/// A loop in the network.
final class SimulatedLoop {
    let stepped: SteppedLoop
    let native: OpaquePointer
    let host: sim_host
    var isFrozen = false
    var wasPostedTo = false
    /// Without an event, a task, a call that did something or a rest, less some for each turn with one of them.
    var turnsForNothing = 0
    private static let worth = 50

    /// Makes and starts one.
    init(_ index: Int, _ options: LoopOptions, in world: OpaquePointer, on host: sim_host) throws(TransportError) {
        guard let native = sim_loop_begin(world, host) else { throw TransportError(.outOfMemory) }
        do throws(TransportError) {
            stepped = try SteppedLoop(index: index, options: options)
        } catch {
            sim_loop_forget(native)
            throw error
        }
        sim_loop_end_of_making(native)
        self.native = native
        self.host = host
    }

    var isReady: Bool { !isFrozen && (wasPostedTo || sim_loop_is_ready(native)) }

    func turn() {
        wasPostedTo = false
        sim_loop_enter(native)
        let happened = stepped.step()
        sim_loop_leave(native)
        let gotOn = happened || sim_loop_got_on(native)
        turnsForNothing = gotOn ? max(0, turnsForNothing - Self.worth) : turnsForNothing + 1
    }
}

/// Where tasks of the network run that are bound to no loop.
final class SimulationExecutor: TaskExecutor, @unchecked Sendable {
    unowned(unsafe) fileprivate(set) var scheduler: Scheduler?

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        // What is left over when the run has ended goes on elsewhere.
        guard let scheduler else { return passOn(job) }
        if scheduler.isInside { scheduler.take(job) } else { scheduler.arrive(job) }
    }

    func passOn(_ job: UnownedJob) { globalConcurrentExecutor.enqueue(job) }
}
