internal import CSimulation
internal import CTransport
internal import SwiftTransport
internal import Synchronization

/// The world of one ``TestChannel``: two hosts without a distance between them, whose loops take their turns when the test says so,
/// on its thread, and whose time passes when the test says so.
final class TestWorld {
    private let world: OpaquePointer
    private var loops: [SimulatedLoop] = []
    private var driver: LoopDriver?
    private var later: [() -> Void] = []
    private var peer: OpaquePointer?
    private let here: sim_host
    private let there: sim_host
    private let start: UInt64
    private let isInUse = Atomic<Bool>(false)
    private(set) var isFinished = false

    /// What the peer has read.
    private(set) var received: [UInt8] = []
    private(set) var ending = TestPeer.Ending.open
    var peerReads = true

    private static let port: UInt16 = 7
    /// Of a peer that does not read, and of the channel's kernel.
    static let buffer = 4096
    private static let turnsAtMost = 100_000

    init(_ engine: Engine) {
        let traits = sim_kernel_traits(
            incremental_buffers: true, sees_ends: true, send_zero_copy: true, uring: engine == .uring)
        guard let world = sim_world_create(0, traits) else { preconditionFailure("no memory") }
        self.world = world
        start = sim_now(world)
        here = sim_host_add(world, "channel")
        there = sim_host_add(world, "peer")
        sim_link_set_delay(world, here, there, 0)
        sim_link_set_delay(world, there, here, 0)
        let driver = LoopDriver(
            make: { [unowned self] index, options throws(TransportError) in try self.makeLoop(index, options) },
            visit: { _ in },
            wait: { [unowned self] _, body in self.later.append(body) })
        self.driver = driver
        sim_world_set_driver(world, driver.pointer)
    }

    deinit {
        finish()
        if let peer { sim_peer_free(peer) }
        // Loops that do not end hold on to the kernel they were made with.
        if loops.isEmpty { sim_world_destroy(world) }
    }

    private func makeLoop(_ index: Int, _ options: LoopOptions) throws(TransportError) -> EventLoop {
        let made = try SimulatedLoop(index, options, in: world, on: here)
        loops.append(made)
        return made.stepped.loop
    }

    // MARK: Inside

    /// Makes this thread the world's for the length of `body`, whatever else it is about.
    func use<Result>(_ body: () throws -> Result) throws -> Result {
        guard !isFinished else { throw TestChannelError.finished }
        guard !isInUse.exchange(true, ordering: .acquiring) else { throw TestChannelError.inUse }
        defer { isInUse.store(false, ordering: .releasing) }
        return try enter(body)
    }

    private func enter<Result>(_ body: () throws -> Result) rethrows -> Result {
        let place = sim_step_aside()
        sim_world_enter(world)
        defer {
            sim_world_leave(world)
            sim_step_back(place)
        }
        return try body()
    }

    /// On a loop, of which the first turn then is due.
    func onLoop<Result>(_ body: () throws -> Result) throws -> Result {
        guard let loop = loops.first else { throw TestChannelError.finished }
        loop.wasPostedTo = true
        sim_loop_enter(loop.native)
        defer { sim_loop_leave(loop.native) }
        return try loop.stepped.withLoop(body)
    }

    // MARK: Time

    var elapsed: Duration { .nanoseconds(Int64(sim_now(world) - start)) }

    /// Lets everything happen that happens now.
    func settle() throws(TestChannelError) {
        var turns = 0
        while turns < Self.turnsAtMost {
            if sim_world_was_posted_to(world) { for loop in loops { loop.wasPostedTo = true } }
            if let loop = loops.first(where: \.isReady) {
                turn(loop)
                turns += 1
            } else if sim_next_event(world) <= sim_now(world) {
                sim_advance(world, sim_now(world))
            } else if !takeIn(), !tryLater() {
                return
            }
        }
        throw .endless(turns: turns)
    }

    private func turn(_ loop: SimulatedLoop) {
        loop.turn()
        guard loop.stepped.hasFinished else { return }
        sim_loop_forget(loop.native)
        loops.removeAll { $0 === loop }
    }

    private func tryLater() -> Bool {
        let bodies = later
        later = []
        for body in bodies { body() }
        return !bodies.isEmpty
    }

    func advance(by duration: Duration) throws(TestChannelError) {
        let target = sim_now(world) + duration.nanoseconds
        try settle()
        while let next = next(until: target) {
            sim_advance(world, next)
            try settle()
        }
        sim_advance(world, target)
        // The loop has the time of its last turn.
        for loop in loops { loop.wasPostedTo = true }
        try settle()
    }

    private func next(until target: UInt64) -> UInt64? {
        var next = sim_next_event(world)
        for loop in loops { next = min(next, sim_loop_deadline(loop.native)) }
        return next <= target ? next : nil
    }

    // MARK: The peer

    func listen() throws(TransportError) {
        guard sim_peer_listen(world, there, Self.port, UInt32(Self.buffer)) else { throw TransportError(.outOfMemory) }
    }

    var address: SocketAddress {
        get throws(TransportError) { try SocketAddress(host: "10.0.0.2", port: Self.port) }
    }

    func accept() { peer = sim_peer_accept(world, there, Self.port) }

    /// Does something as the peer, and lets happen what comes of it.
    func asPeer(_ body: (OpaquePointer) -> Void) throws(TestChannelError) {
        if let peer { body(peer) }
        try settle()
    }

    func send(_ bytes: UnsafeRawBufferPointer) throws(TestChannelError) {
        guard let peer, sim_peer_send(peer, bytes.baseAddress ?? UnsafeRawPointer(peer), UInt64(bytes.count)) else {
            throw .connectionOver
        }
        try settle()
    }

    /// Bytes of the peer that the channel has not read.
    var unreceived: Int { peer.map { Int(sim_peer_look($0).unreceived) } ?? 0 }

    /// What has come. False when there was nothing.
    private func takeIn() -> Bool {
        guard let peer, peerReads else { return false }
        let state = sim_peer_look(peer)
        if state.unread > 0 {
            received += [UInt8](unsafeUninitializedCapacity: Int(state.unread)) { bytes, count in
                count = Int(sim_peer_receive(peer, bytes.baseAddress!, UInt64(bytes.count)))
            }
            return true
        }
        if state.is_over, ending == .open { ending = state.error == 0 ? .finished : .reset }
        return false
    }

    func takeReceived() -> [UInt8] {
        defer { received = [] }
        return received
    }

    // MARK: The end

    func beginShutdown(within duration: Duration) { for loop in loops { loop.stepped.shutDown(within: duration) } }

    /// Ends the loops.
    func finish() {
        guard !isFinished else { return }
        isFinished = true
        enter {
            beginShutdown(within: .zero)
            try? settle()
            sim_world_set_driver(world, nil)
        }
        driver = nil
        later = []
    }
}
