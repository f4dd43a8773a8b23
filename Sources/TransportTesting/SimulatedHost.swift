internal import CSimulation
public import SwiftTransport
internal import Synchronization

/// A machine in a ``SimulatedNetwork``.
public final class SimulatedHost: @unchecked Sendable {
    let number: sim_host
    private let world: OpaquePointer
    private let scheduler: Scheduler
    /// By which others find it.
    public let name: String

    init(_ name: String, _ world: OpaquePointer, _ scheduler: Scheduler) {
        self.name = name
        self.world = world
        self.scheduler = scheduler
        number = sim_host_add(world, name)
    }

    /// Its address, as text: "10.0.0.2" for the first host that was added.
    public var address: String {
        let raw = number + 1
        return "10.\(raw >> 16 & 255).\(raw >> 8 & 255).\(raw & 255)"
    }

    /// Does something on this host: groups and sockets that are made meanwhile are its own.
    public func run<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        scheduler.assertInside()
        let before = sim_world_current_host(world)
        sim_world_set_host(world, number)
        defer { sim_world_set_host(world, before) }
        return try body()
    }

    /// Loops on this host. They are the network's: ended with it, if not before.
    ///
    /// - Parameters:
    ///   - loops: how many. Default 1.
    ///   - options: how they are made; the engine is the network's, unless they ask for the other one. Default: as elsewhere.
    /// - Throws: as ``/SwiftTransport/EventLoopGroup`` does; `.loopShutDown` when the run has ended.
    public func makeGroup(
        loops: Int = 1, options: LoopOptions = LoopOptions()
    ) throws(TransportError) -> EventLoopGroup {
        guard !scheduler.isOver.load(ordering: .relaxed) else { throw TransportError(.loopShutDown) }
        return try run { () throws(TransportError) in try EventLoopGroup(loops: loops, options: options) }
    }

    // MARK: Faults

    /// Its programs stand still; its kernel goes on answering. As a process that is stopped, or that swaps.
    public func freeze() {
        scheduler.assertInside()
        scheduler.setFrozen(true, number)
    }

    /// Its programs go on.
    public func thaw() {
        scheduler.assertInside()
        scheduler.setFrozen(false, number)
    }

    /// It loses power: nothing goes out or comes in any more, nobody is told, and its programs stand still.
    public func crash() {
        scheduler.assertInside()
        sim_host_crash(world, number)
        scheduler.setFrozen(true, number)
    }

    /// It is on again and has forgotten its connections; whoever sends to one of them gets a reset. Its programs find theirs lost.
    public func restart() {
        scheduler.assertInside()
        sim_host_restart(world, number)
        scheduler.setFrozen(false, number)
    }

    /// Every connection from and to the host ends with a reset, at both sides.
    public func resetConnections() {
        scheduler.assertInside()
        sim_host_reset_connections(world, number)
    }

    /// How many descriptors its programs may have open. Default `nil`: any number.
    public func limitDescriptors(to limit: Int?) {
        scheduler.assertInside()
        sim_host_limit_descriptors(world, number, UInt32(clamping: limit ?? 0))
    }

    /// How many descriptors its programs have open.
    public var openDescriptors: Int { Int(sim_host_descriptors(world, number)) }
    /// How many connections its kernel has, in whatever state.
    public var connections: Int { Int(sim_host_connections(world, number)) }
}
