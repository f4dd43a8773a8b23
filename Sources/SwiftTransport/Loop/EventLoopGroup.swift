internal import CTransport
internal import Glibc
internal import Synchronization

/// A fixed set of event loops, one thread each.
///
///     let group = try EventLoopGroup()        // a loop per core, the engine chosen by probe
///     ...
///     let report = await group.shutdown()
///
/// Every method may be called from any thread. A group that is dropped without ``shutdown(within:)`` keeps its threads.
public final class EventLoopGroup: Sendable {
    /// The loops, in the order in which ``next()`` gives them out.
    public let loops: [EventLoop]
    /// Why the loops run on epoll although this machine has io_uring: it had no memory for the rings of all of them. Only
    /// with the engine `.automatic`; `nil` when there was no such trouble.
    public let engineFallback: TransportError?
    private let isEngineChosen: Bool
    private let turn = Atomic<Int>(0)

    /// Makes and starts the loops. With the engine `.automatic` they all get io_uring, or all epoll: see ``engineFallback``.
    ///
    /// - Parameters:
    ///   - count: how many loops; default one per core this process may use (Netty: two per core).
    ///   - options: how they are made.
    /// - Throws: `.engineUnavailable`, `.descriptorLimit`, `.outOfMemory` or `.system`, naming call, cause and remedy.
    public init(loops count: Int = EventLoopGroup.availableCores, options: LoopOptions = LoopOptions())
        throws(TransportError)
    {
        #if DEBUG
            // Its descriptor is for a moment only, but not for one in which somebody counts them.
            _ = SymbolTable.ofProgram
        #endif
        isEngineChosen = !options.isAutomatic
        do throws(TransportError) {
            loops = try Self.start(count, options)
            engineFallback = nil
        } catch {
            // Rings are locked memory, of which users have little; the probe's own was small.
            guard options.isAutomatic, error.isOfIOUring else { throw error }
            var options = options
            options.engine = .only(.epoll)
            loops = try Self.start(count, options)
            engineFallback = error
            Engine.fellBack(error)
        }
    }

    /// Which engine drives the loops and why, and what the machine offers, in one line. Any thread.
    ///
    ///     2 loops on io_uring; kernel 6.18: io_uring (incremental buffers), memory jemalloc
    ///     2 loops on epoll, as asked for; kernel 6.18: io_uring (incremental buffers), memory jemalloc
    public var report: String {
        let name = loops[0].engine == .uring ? "io_uring" : "epoll"
        let reason =
            if let engineFallback {
                ", because there was no io_uring for all of them (\(engineFallback))"
            } else {
                isEngineChosen ? ", as asked for" : ""
            }
        return "\(loops.count) \(loops.count == 1 ? "loop" : "loops") on \(name)\(reason); \(Engine.probed)"
    }

    private static func start(_ count: Int, _ options: LoopOptions) throws(TransportError) -> [EventLoop] {
        var started: [EventLoop] = []
        do throws(TransportError) {
            for index in 0..<max(1, count) {
                started.append(try LoopThread.make(index, options))
            }
        } catch {
            for loop in started { loop.beginShutdown(LoopShutdown(), within: .zero) }
            throw error
        }
        return started
    }

    /// The next loop, round robin.
    public func next() -> EventLoop {
        let ticket = turn.wrappingAdd(1, ordering: .relaxed).oldValue
        return loops[Int(UInt(bitPattern: ticket) % UInt(loops.count))]
    }

    /// The loop whose thread this is if it belongs to the group, else the next one: work started on a loop stays there.
    public func preferred() -> EventLoop {
        if let current = EventLoop.current, loops.contains(where: { $0 === current }) { return current }
        return next()
    }

    /// How many cores this process may run on.
    public static var availableCores: Int { max(1, Int(ct_thread_cores())) }

    /// Ends the group gracefully: nothing new is accepted or connected, what is under way is finished, and then the threads end.
    ///
    /// Handlers hear of it (``ChannelHandler/shutdownBegan(_:)``) and tasks can see it (``Connection/isShuttingDown``).
    /// A connection with nothing under way closes at once; one with work under way when that is done, and its queue has
    /// been sent. What is left when `duration` is over is cut off with a reset, so that its peer does not take a part for
    /// the whole. A second call in less time cuts the first one short.
    ///
    /// - Parameter duration: the time allowed; default 15 s, as in Netty.
    /// - Returns: how the channels ended.
    @discardableResult
    public func shutdown(within duration: Duration = .seconds(15)) async -> ShutdownReport {
        var report = ShutdownReport()
        let shutdowns = loops.map { loop in (loop, LoopShutdown()) }
        for (loop, shutdown) in shutdowns { loop.beginShutdown(shutdown, within: duration) }
        for (_, shutdown) in shutdowns { report.add(await shutdown.finished()) }
        return report
    }
}

extension EventLoop {
    /// On the thread that will run it.
    func start() throws(TransportError) {
        var failure = ct_failure()
        guard ct_loop_start(core, context, &failure) >= 0 else { throw TransportError(failure) }
    }
}

/// Starts the thread of a loop and waits until the loop says whether it runs.
enum LoopThread {
    private final class Start {
        let loop: EventLoop
        var error: TransportError?
        let done: UnsafeMutablePointer<sem_t>

        init(_ loop: EventLoop) {
            self.loop = loop
            done = .allocate(capacity: 1)
            sem_init(done, 0, 0)
        }
        deinit {
            sem_destroy(done)
            done.deallocate()
        }
    }

    /// Makes a loop and starts its thread, unless this thread's kernel has loops without threads.
    static func make(_ index: Int, _ options: LoopOptions) throws(TransportError) -> EventLoop {
        if let driver = LoopDriver.current { return try driver.makeLoop(index: index, options: options) }
        let loop = try EventLoop(index: index, options: options)
        try start(loop)
        return loop
    }

    private static func start(_ loop: EventLoop) throws(TransportError) {
        let start = Start(loop)
        let context = Unmanaged.passRetained(start)
        let result = ct_thread_start(
            "transport-\(loop.index)", loop.options.cpu(ofLoop: loop.index), threadBody, context.toOpaque())
        guard result == 0 else {
            context.release()
            throw TransportError(call: .pthreadCreate, errno: -result)
        }
        while sem_wait(start.done) != 0 {}
        if let error = start.error { throw error }
    }

    private static let threadBody: @convention(c) (UnsafeMutableRawPointer?) -> Void = { context in
        guard let context else { return }
        if let loop = begin(Unmanaged<Start>.fromOpaque(context).takeRetainedValue()) { loop.runUntilShutDown() }
    }

    /// On the new thread. The loop, if it has begun; who waits is told in either case.
    private static func begin(_ start: Start) -> EventLoop? {
        let loop = start.loop
        defer { sem_post(start.done) }
        do throws(TransportError) {
            try loop.start()
            return loop
        } catch {
            start.error = error
            return nil
        }
    }
}
