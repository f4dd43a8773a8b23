internal import CSimulation
internal import SwiftTransport

/// A network of hosts that is not there: every packet, every fault and every order of things is decided by one seed, and time passes
/// only when nobody has anything left to do. What runs in it is the library itself, with the engines it has elsewhere, and your
/// service on top.
///
///     try await SimulatedNetwork.run(seed: 1) { network in
///         let broker = network.addHost("broker"), producer = network.addHost("producer")
///         let server = try broker.makeGroup()
///         ...
///         network.partition(broker, from: producer)
///         await network.advance(by: .seconds(600))        // takes no time
///         network.heal()
///     }
///
/// The body, the loops that are made in it and the tasks they start take turns on one thread, tasks without an executor of their own
/// too. What waits for something outside of the network, such as `Task.sleep` without ``clock`` or the main actor, waits in real time,
/// in which the network may be years ahead.
///
/// All of it belongs to the body and to what it starts: calling it from elsewhere stops the program while the body runs, and
/// does nothing when that has ended.
public final class SimulatedNetwork: @unchecked Sendable {
    let world: OpaquePointer
    let scheduler: Scheduler
    /// What the run is decided by.
    public let seed: UInt64
    /// The network's time: for `Task.sleep(for:clock:)` and everything else that takes a clock.
    public let clock: SimulatedClock
    /// Where the body itself runs, on no host of the network.
    public let outside: SimulatedHost
    private var all: [SimulatedHost] = []

    init(seed: UInt64, options: SimulationOptions) {
        self.seed = seed
        guard let world = sim_world_create(seed, options.traits(seed)) else { preconditionFailure("no memory") }
        self.world = world
        scheduler = Scheduler(world, options)
        clock = SimulatedClock(scheduler)
        outside = SimulatedHost("outside", world, scheduler)
    }

    deinit { sim_world_destroy(world) }

    // MARK: Hosts

    /// A new host. Others find it by `name`, which ``/SwiftTransport/ClientBootstrap`` resolves, or by its
    /// ``SimulatedHost/address``. Packets between two hosts take 0.2 ms.
    public func addHost(_ name: String) -> SimulatedHost {
        assertInside()
        let host = SimulatedHost(name, world, scheduler)
        all.append(host)
        return host
    }

    /// All of them, in the order in which they were added.
    public var hosts: [SimulatedHost] { all }

    // MARK: Time

    /// How long the network has been running.
    public var elapsed: Duration { scheduler.elapsed }

    /// Lets everything else go on until `duration` of the network's time is over.
    public func advance(by duration: Duration) async {
        assertInside()
        await scheduler.sleep(until: scheduler.elapsed + duration)
    }

    // MARK: Faults

    /// From here on no packet passes between the two, in neither direction, and none that is on its way arrives.
    public func partition(_ one: SimulatedHost, from other: SimulatedHost) {
        assertInside()
        sim_link_cut(world, one.number, other.number, true)
        sim_link_cut(world, other.number, one.number, true)
    }

    /// From here on no packet passes from `one` to `other`; the other way they do.
    public func partitionOneWay(from one: SimulatedHost, to other: SimulatedHost) {
        assertInside()
        sim_link_cut(world, one.number, other.number, true)
    }

    /// Takes back what ``partition(_:from:)``, ``delay(_:from:to:)`` and ``loss(_:from:to:)`` did, and thaws every host.
    public func heal() {
        assertInside()
        for one in [outside] + all {
            one.thaw()
            for other in [outside] + all {
                sim_link_cut(world, one.number, other.number, false)
                sim_link_set_loss(world, one.number, other.number, 0)
                if one.number != other.number { sim_link_set_delay(world, one.number, other.number, 200_000) }
            }
        }
    }

    /// How long a packet from `one` to `other` takes. Default 0.2 ms.
    public func delay(_ duration: Duration, from one: SimulatedHost, to other: SimulatedHost) {
        assertInside()
        sim_link_set_delay(world, one.number, other.number, duration.nanoseconds)
    }

    /// Which part of the packets from `one` to `other` is lost, from 0 to 1. What is lost is sent again, as TCP does. Default 0.
    public func loss(_ part: Double, from one: SimulatedHost, to other: SimulatedHost) {
        assertInside()
        sim_link_set_loss(world, one.number, other.number, UInt16(max(0, min(1, part)) * 65535))
    }

    /// How often things go wrong that may go wrong anywhere. Default: never.
    public var faults: SimulatedFaults {
        get { SimulatedFaults(sim_faults_of(world).pointee) }
        set {
            assertInside()
            sim_faults_of(world).pointee = newValue.raw
        }
    }

    // MARK: What happened

    /// A number that two runs of one seed have in common as long as the same happened in both.
    public var traceHash: UInt64 { sim_trace_hash(world) }

    /// The last things that happened, one a line.
    public var trace: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512 * 1024) { text in
            let length = Int(sim_trace_text(world, text.baseAddress!, UInt32(text.count)))
            return String(decoding: text[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }

    /// From now on a process that a trap or a broken invariant ends says what happened last in its network.
    package static func speakAtCrashes() { sim_trace_at_crash() }

    /// What has happened so far, counted.
    public var statistics: SimulationStatistics { SimulationStatistics(sim_statistics_of(world).pointee) }

    /// A number below `bound`, from the seed: for choices of the test itself.
    public func random(below bound: Int) -> Int {
        assertInside()
        return Int(sim_draw(world, UInt32(clamping: bound)))
    }

    /// Adds something of the test's own to ``trace`` and ``traceHash``.
    public func note(_ value: UInt64) {
        assertInside()
        sim_note(world, value)
    }

    func name(of loop: SimulatedLoop) -> String {
        let host = ([outside] + all).first { $0.number == loop.host }
        return "loop \(loop.stepped.loop.index) of host \(host?.name ?? "?")"
    }

    func assertInside() { scheduler.assertInside() }

    /// What goes wrong stops going wrong, every loop that is left ends, and what is under way comes to its end. False when a loop
    /// does not end.
    func windUp() -> Bool {
        sim_faults_of(world).pointee = sim_faults()
        heal()
        for host in all { host.restart() }
        return scheduler.windUp()
    }
}
