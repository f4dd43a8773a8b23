import CTransport
import Glibc
import Testing

/// A loop of the core, driven turn by turn on the test's own thread.
///
/// A test says what it waits for; it never sleeps. A wait gives up after a number of turns in which nothing happened.
final class TestLoop {
    static let capacity: UInt32 = 256
    static let idleTurnsMax = 5_000
    static let idleTurnNanos: UInt64 = 2_000_000
    static let guardNanos: UInt64 = 20_000_000_000

    let loop: OpaquePointer
    private let events: UnsafeMutablePointer<ct_event>
    private let capacity: UInt32
    private(set) var endpoints: [Int: Endpoint] = [:]
    private var nextID = 1
    /// The other ends of the loop's connections stay open as long as the loop unless a test closes them.
    var peers: [Peer] = []
    private(set) var firedTimers: [(timer: ct_timer, context: Int, now: UInt64)] = []
    /// Chunk references a test wanted to keep.
    var held: [UnsafeMutablePointer<ct_chunk>] = []
    var keepsChunks = false
    /// How often the completion queue was too short; only a test that asks for it may see that.
    var expectedOverflows: UInt64 = 0
    private(set) var eventsOfTurn = 0

    init(_ engine: Engine, capacity: UInt32 = TestLoop.capacity, options: ct_loop_options = ct_loop_options()) throws {
        var options = options
        options.engine = engine.kind
        var failure = ct_failure()
        loop = try #require(ct_loop_create(&options, &failure), "errno \(failure.error)")
        try #require(ct_loop_start(loop, UnsafeMutableRawPointer(loop), &failure) == 0, "errno \(failure.error)")
        events = .allocate(capacity: Int(capacity))
        self.capacity = capacity
    }

    var statistics: ct_loop_statistics { ct_loop_statistics_of(loop).pointee }
    var now: UInt64 { ct_clock_now() }

    func open(_ fd: Int32, listener: Bool = false) throws -> Endpoint {
        let id = nextID
        nextID += 1
        let slot = try #require(ct_slot_open(loop, fd, listener, UnsafeMutableRawPointer(bitPattern: id)))
        let endpoint = Endpoint(slot: slot, id: id)
        endpoints[id] = endpoint
        return endpoint
    }

    /// One turn, and what the slots were told in it. Returns the number of events.
    @discardableResult
    func turn(deadline: UInt64? = nil) -> Int {
        let count = ct_loop_run_once(loop, deadline ?? now + Self.idleTurnNanos, events, capacity)
        eventsOfTurn = Int(count)
        for i in 0..<Int(count) { handle(events[i]) }
        return Int(count)
    }

    /// Runs turns until `condition` holds. False when nothing happened for too long.
    func reaches(_ condition: () throws -> Bool) rethrows -> Bool {
        var idle = 0
        while try !condition() {
            idle = turn() == 0 ? idle + 1 : 0
            if idle > Self.idleTurnsMax { return false }
        }
        return true
    }

    /// Runs turns whose wait only events end, until `condition` holds: a wake that gets lost shows. False when a wait came
    /// to its far deadline. No timer guards it, because a timing wheel wakes early now and then.
    func wakes(until condition: () -> Bool) -> Bool {
        while !condition() {
            let deadline = now + Self.guardNanos
            turn(deadline: deadline)
            if ct_loop_now(loop) >= deadline { return false }
        }
        return true
    }

    /// Runs turns until a few in a row brought nothing: whatever is still in flight now waits for somebody else.
    func settle() {
        var idle = 0
        while idle < 4 { idle = turn() == 0 ? idle + 1 : 0 }
    }

    private func handle(_ event: ct_event) {
        if event.kind == CT_EVENT_TIMER {
            let context = ct_timer_take(loop, event.token)
            firedTimers.append((event.token, Int(bitPattern: context), ct_loop_now(loop)))
            return
        }
        guard let endpoint = endpoints[Int(bitPattern: event.context)] else {
            Issue.record("an event without an owner")
            return
        }
        let result = event.result
        switch event.kind {
        case CT_EVENT_ACCEPT:
            if result >= 0 { endpoint.acceptedDescriptors.append(result) }
            endpoint.note(result >= 0 ? .accepted(more: event.has(CT_EVENT_MORE)) : .acceptFailed(-result))
        case CT_EVENT_RECEIVE: handleReceive(event, endpoint)
        case CT_EVENT_SEND:
            endpoint.noteTag(of: event)
            if result != -EAGAIN { endpoint.note(result >= 0 ? .sent(bytes: Int(result)) : .sendFailed(-result)) }
            endpoint.sendEnded(result, on: self)
        case CT_EVENT_NOTIFICATION:
            endpoint.noteTag(of: event)
            endpoint.note(.notified)
        case CT_EVENT_CONNECT where event.has(CT_EVENT_MORE): endpoint.note(.connectAgain)
        case CT_EVENT_CONNECT: endpoint.note(result == 0 ? .connected : .connectFailed(-result))
        case CT_EVENT_CLOSED:
            endpoint.note(.closed)
            endpoint.isClosed = true
        default: Issue.record("an event of an unknown kind \(event.kind)")
        }
    }

    private func handleReceive(_ event: ct_event, _ endpoint: Endpoint) {
        if event.result > 0 {
            let bytes = [UInt8](UnsafeBufferPointer(start: event.data, count: Int(event.result)))
            endpoint.received += bytes
            endpoint.note(.received(bytes: bytes.count))
            endpoint.onReceive?(bytes)
        } else if event.result == 0 {
            endpoint.note(.endOfStream)
        } else if event.result != -EAGAIN {
            endpoint.note(.receiveFailed(-event.result))
        }
        guard let chunk = event.chunk else { return }
        if keepsChunks {
            ct_chunk_retain(chunk)
            held.append(chunk)
        }
        if event.has(CT_EVENT_CHUNK_DONE) {
            if keepsChunks { held.append(chunk) } else { ct_chunk_release(chunk) }
        }
    }

    func releaseHeld() {
        for chunk in held { ct_chunk_release(chunk) }
        held = []
    }

    func close(_ endpoint: Endpoint) { ct_slot_close(loop, endpoint.slot) }

    /// Closes what is open, waits until the last slot is free, checks what must hold of every loop and destroys it.
    func finish(sourceLocation: SourceLocation = #_sourceLocation) {
        keepsChunks = false
        releaseHeld()
        for endpoint in endpoints.values {
            endpoint.onReceive = nil
            endpoint.onSent = nil
        }
        for endpoint in endpoints.values where !endpoint.isClosed { close(endpoint) }
        let free = reaches { statistics.slots_open == 0 }
        let end = statistics
        #expect(free, "slots stayed open", sourceLocation: sourceLocation)
        #expect(end.stale_completions == 0, sourceLocation: sourceLocation)
        #expect(end.completion_overflows == expectedOverflows, sourceLocation: sourceLocation)
        #expect(end.enters <= end.turns, "more than one system call a turn", sourceLocation: sourceLocation)
        for endpoint in endpoints.values {
            let closes = endpoint.happenings.count { $0 == .closed }
            #expect(closes == 1, "CLOSED comes once", sourceLocation: sourceLocation)
            #expect(endpoint.eventsAfterClose == 0, "CLOSED is the last event", sourceLocation: sourceLocation)
        }
        guard free else { return }
        ct_loop_destroy(loop)
    }

    deinit { events.deallocate() }
}

extension ct_event {
    func has(_ flag: some BinaryInteger) -> Bool { flags & UInt16(flag) != 0 }
}

extension ct_loop_options {
    /// What is 0 has the core's default.
    init(classicBuffers: Bool = false, chunkSize: Int = 0, chunksLent: Int = 0, receiveBudget: Int = 0) {
        self.init()
        classic_buffers = classicBuffers
        chunk_size = UInt32(chunkSize)
        chunks_lent = UInt32(chunksLent)
        receive_budget = UInt64(receiveBudget)
    }
}

/// Makes a loop, runs the test with it and takes it down with the checks of `TestLoop.finish()`.
func withLoop(
    _ engine: Engine,
    capacity: UInt32 = TestLoop.capacity,
    options: ct_loop_options = ct_loop_options(),
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (TestLoop) throws -> Void
) throws {
    let loop = try TestLoop(engine, capacity: capacity, options: options)
    defer { loop.finish(sourceLocation: sourceLocation) }
    try body(loop)
}

/// The same for an engine with a way to consume its receive buffers.
func withLoop(
    _ variant: Variant,
    capacity: UInt32 = TestLoop.capacity,
    options: ct_loop_options = ct_loop_options(),
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (TestLoop) throws -> Void
) throws {
    var options = options
    options.classic_buffers = variant.classicBuffers
    try withLoop(variant.engine, capacity: capacity, options: options, sourceLocation: sourceLocation, body)
}
