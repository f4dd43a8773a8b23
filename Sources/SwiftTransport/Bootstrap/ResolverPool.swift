internal import CTransport
internal import Glibc
internal import Synchronization

/// The threads that look names up: getaddrinfo(3) blocks for as long as it likes, and a loop must not.
///
/// They are few, started when there is more to do than they can take, and end when they have been idle for a while. What is
/// asked for meanwhile waits in line; what nobody waits for any more leaves the line without being looked up.
final class ResolverPool: Sendable {
    typealias Answer = Result<[SocketAddress], TransportError>

    /// The one of the process. Eight look-ups that get no answer hold up the others, for as long as the resolver tries (five
    /// seconds for each name server, twice, by default); each connect still ends at its own time limit.
    static let shared = ResolverPool(threads: 8, idle: .seconds(10), ask: Resolver.ask)

    /// A look-up that is wanted. Its state belongs to the pool's lock.
    final class Request: @unchecked Sendable {
        let host: String
        let port: UInt16
        /// Told the answer; `nil` once it was told or nobody wants to know.
        fileprivate var done: (@Sendable (Answer) -> Void)?
        /// Its neighbours in the line.
        fileprivate var next: Request?
        fileprivate unowned(unsafe) var previous: Request?
        fileprivate var isInLine = false

        fileprivate init(_ host: String, _ port: UInt16, _ done: @escaping @Sendable (Answer) -> Void) {
            self.host = host
            self.port = port
            self.done = done
        }
    }

    private let limit: Int
    private let idle: Duration
    private let ask: @Sendable (String, UInt16) -> Answer
    private let state = Mutex(State())
    /// Counts the requests that idle threads are to look for. Sometimes one too many, which costs a look.
    nonisolated(unsafe) private let bell = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    private struct State {
        var line = Line()
        var threads = 0
        var idleThreads = 0
    }

    /// - Parameters:
    ///   - threads: how many there are at most.
    ///   - idle: how long one waits for something to do before it ends.
    ///   - ask: looks a name up, and blocks.
    init(threads: Int, idle: Duration, ask: @escaping @Sendable (String, UInt16) -> Answer) {
        limit = threads
        self.idle = idle
        self.ask = ask
        sem_init(bell, 0, 0)
    }

    deinit {
        sem_destroy(bell)
        bell.deallocate()
    }

    /// How many threads there are, how many of them have nothing to do, and how many requests wait for one.
    var load: Load {
        state.withLock { Load(threads: $0.threads, idle: $0.idleThreads, waiting: $0.line.count) }
    }

    struct Load: Equatable {
        let threads: Int, idle: Int, waiting: Int
    }

    /// Has `host` looked up. `done` is called once, on a thread of the pool (on this one if no thread is to be had), unless
    /// the request is cancelled before.
    func lookUp(host: String, port: UInt16, _ done: @escaping @Sendable (Answer) -> Void) -> Request {
        let request = Request(host, port, done)
        // A simulated network has no threads, and answers at once.
        if LoopDriver.current != nil {
            request.done = nil
            done(ask(host, port))
            return request
        }
        let (rings, starts) = state.withLock { state -> (Bool, Bool) in
            state.line.append(request)
            if state.idleThreads >= state.line.count { return (true, false) }
            guard state.threads < limit else { return (false, false) }
            state.threads += 1
            return (false, true)
        }
        if rings { sem_post(bell) }
        if starts { startThread() }
        return request
    }

    /// Nobody waits for `request` any more. True when nobody was told and nobody will be.
    @discardableResult
    func cancel(_ request: Request) -> Bool {
        // Let go of outside the lock: what it holds may be anything.
        let done = state.withLock { state in
            if request.isInLine { state.line.remove(request) }
            defer { request.done = nil }
            return request.done
        }
        return done != nil
    }

    // MARK: Threads

    private func startThread() {
        let pool = Unmanaged.passRetained(self)
        let result = ct_thread_start("transport-dns", -1, Self.threadBody, pool.toOpaque())
        guard result != 0 else { return }
        pool.release()
        // The other threads will come to it; without any, nobody will.
        let stranded = state.withLock { state -> [Request] in
            state.threads -= 1
            var stranded: [Request] = []
            while state.threads == 0, let request = state.line.removeFirst() { stranded.append(request) }
            return stranded
        }
        for request in stranded {
            let subject = SocketAddress.name(of: request.host, request.port)
            finish(request, .failure(TransportError(call: .pthreadCreate, errno: -result, subject: subject)))
        }
    }

    private static let threadBody: @convention(c) (UnsafeMutableRawPointer?) -> Void = { pool in
        guard let pool else { return }
        Unmanaged<ResolverPool>.fromOpaque(pool).takeRetainedValue().work()
    }

    private func work() {
        while let request = next() { finish(request, ask(request.host, request.port)) }
    }

    /// `nil` when there was nothing to do for a while: the thread ends.
    private func next() -> Request? {
        while true {
            let ready = state.withLock { state -> Request? in
                let first = state.line.removeFirst()
                if first == nil { state.idleThreads += 1 }
                return first
            }
            if let ready { return ready }
            let rang = waitForBell()
            let ends = state.withLock { state in
                state.idleThreads -= 1
                guard !rang, state.line.count == 0 else { return false }
                state.threads -= 1
                return true
            }
            if ends { return nil }
        }
    }

    /// False when the time is over.
    private func waitForBell() -> Bool {
        var end = timespec()
        clock_gettime(CLOCK_REALTIME, &end)
        let nanoseconds = UInt64(end.tv_nsec).advanced(by: idle)
        end.tv_sec += Int(nanoseconds / 1_000_000_000)
        end.tv_nsec = Int(nanoseconds % 1_000_000_000)
        while sem_timedwait(bell, &end) != 0 {
            if errno != EINTR { return false }
        }
        return true
    }

    private func finish(_ request: Request, _ answer: Answer) {
        let done = state.withLock { _ in
            defer { request.done = nil }
            return request.done
        }
        done?(answer)
    }

    /// First come, first served, and everybody may leave from the middle.
    private struct Line {
        private var first: Request?
        private unowned(unsafe) var last: Request?
        private(set) var count = 0

        mutating func append(_ request: Request) {
            request.previous = last
            if let last { last.next = request } else { first = request }
            last = request
            request.isInLine = true
            count += 1
        }

        mutating func removeFirst() -> Request? {
            guard let first else { return nil }
            remove(first)
            return first
        }

        mutating func remove(_ request: Request) {
            let next = request.next
            if let previous = request.previous { previous.next = next } else { first = next }
            if let next { next.previous = request.previous } else { last = request.previous }
            request.next = nil
            request.previous = nil
            request.isInLine = false
            count -= 1
        }
    }
}
