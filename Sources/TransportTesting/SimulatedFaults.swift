internal import CSimulation

/// How often things go wrong that may go wrong anywhere, each as a part of the times they could: 0 never, 1 always.
public struct SimulatedFaults: Sendable {
    var raw: sim_faults

    /// Nothing goes wrong.
    public init() { raw = sim_faults() }
    init(_ raw: sim_faults) { self.raw = raw }

    private static func chance(_ part: Double) -> UInt16 { UInt16(max(0, min(1, part)) * 65535) }
    private static func part(_ chance: UInt16) -> Double { Double(chance) / 65535 }

    /// How often a receive gets fewer bytes than there are.
    public var shortReceives: Double {
        get { Self.part(raw.short_receive) }
        set { raw.short_receive = Self.chance(newValue) }
    }
    /// How often a send takes fewer bytes than it could.
    public var shortSends: Double {
        get { Self.part(raw.short_send) }
        set { raw.short_send = Self.chance(newValue) }
    }
    /// How often a send finds no room although there is some.
    public var sendsThatWait: Double {
        get { Self.part(raw.send_says_again) }
        set { raw.send_says_again = Self.chance(newValue) }
    }
    /// How often a receive finds nothing although there is something.
    public var receivesThatWait: Double {
        get { Self.part(raw.receive_says_again) }
        set { raw.receive_says_again = Self.chance(newValue) }
    }
    /// How often a request of io_uring that goes on by itself ends, and has to be made anew.
    public var endingMultishots: Double {
        get { Self.part(raw.multishot_ends) }
        set { raw.multishot_ends = Self.chance(newValue) }
    }
    /// How often io_uring finds no receive buffer although there are some.
    public var missingBuffers: Double {
        get { Self.part(raw.no_buffers) }
        set { raw.no_buffers = Self.chance(newValue) }
    }
    /// How often a wait is interrupted by a signal.
    public var interruptedWaits: Double {
        get { Self.part(raw.enter_interrupted) }
        set { raw.enter_interrupted = Self.chance(newValue) }
    }
    /// How often io_uring takes no requests for want of memory.
    public var refusedSubmissions: Double {
        get { Self.part(raw.enter_refuses) }
        set { raw.enter_refuses = Self.chance(newValue) }
    }
    /// How often io_uring takes some of the requests.
    public var partialSubmissions: Double {
        get { Self.part(raw.enter_takes_part) }
        set { raw.enter_takes_part = Self.chance(newValue) }
    }
    /// How often a wait ends and nothing has happened.
    public var wakesForNothing: Double {
        get { Self.part(raw.wakes_for_nothing) }
        set { raw.wakes_for_nothing = Self.chance(newValue) }
    }
    /// How often the kernel keeps the memory of a zero-copy send for up to a second longer.
    public var lateNotifications: Double {
        get { Self.part(raw.late_notification) }
        set { raw.late_notification = Self.chance(newValue) }
    }
    /// How often a zero-copy send copies.
    public var copies: Double {
        get { Self.part(raw.copies) }
        set { raw.copies = Self.chance(newValue) }
    }
    /// How often epoll tells of what is not new.
    public var spuriousEdges: Double {
        get { Self.part(raw.spurious_edge) }
        set { raw.spurious_edge = Self.chance(newValue) }
    }
    /// How often an accept fails for want of descriptors or memory, or because the peer has gone.
    public var failingAccepts: Double {
        get { Self.part(raw.accept_fails) }
        set { raw.accept_fails = Self.chance(newValue) }
    }
    /// How often no socket is to be had.
    public var failingSockets: Double {
        get { Self.part(raw.socket_fails) }
        set { raw.socket_fails = Self.chance(newValue) }
    }
    /// How often an option cannot be set.
    public var failingOptions: Double {
        get { Self.part(raw.option_fails) }
        set { raw.option_fails = Self.chance(newValue) }
    }
    /// How often a connect fails at once.
    public var failingConnects: Double {
        get { Self.part(raw.connect_fails) }
        set { raw.connect_fails = Self.chance(newValue) }
    }
    /// How often the library's core gets no memory.
    public var failingAllocations: Double {
        get { Self.part(raw.memory_fails) }
        set { raw.memory_fails = Self.chance(newValue) }
    }
    /// How often a server finds its port or address taken, forbidden or gone, or no memory to listen.
    public var failingBinds: Double {
        get { Self.part(raw.bind_fails) }
        set { raw.bind_fails = Self.chance(newValue) }
    }
    /// How often something that a loop is made of is not to be had: descriptors and memory for rings, epolls and what wakes them.
    public var failingSetUps: Double {
        get { Self.part(raw.set_up_fails) }
        set { raw.set_up_fails = Self.chance(newValue) }
    }
    /// How often epoll has no memory for another descriptor, or may have no more of them.
    public var failingWatches: Double {
        get { Self.part(raw.watch_fails) }
        set { raw.watch_fails = Self.chance(newValue) }
    }
    /// How often a send fails for want of memory.
    public var failingSends: Double {
        get { Self.part(raw.send_fails) }
        set { raw.send_fails = Self.chance(newValue) }
    }
    /// How often a receive of io_uring cannot be armed for want of memory.
    public var failingReceives: Double {
        get { Self.part(raw.receive_fails) }
        set { raw.receive_fails = Self.chance(newValue) }
    }
    /// How often no more memory may be locked for a send without a copy.
    public var failingLocks: Double {
        get { Self.part(raw.lock_fails) }
        set { raw.lock_fails = Self.chance(newValue) }
    }
    /// How often a name cannot be looked up.
    public var failingLookUps: Double {
        get { Self.part(raw.look_up_fails) }
        set { raw.look_up_fails = Self.chance(newValue) }
    }
    /// How often a request of io_uring goes on for a while behind its cancel, and ends as interrupted.
    public var lateCancels: Double {
        get { Self.part(raw.cancel_late) }
        set { raw.cancel_late = Self.chance(newValue) }
    }
    /// How often what would be sent again is given up instead: nobody has answered for too long, or a router has said why.
    public var endingTries: Double {
        get { Self.part(raw.tries_end) }
        set { raw.tries_end = Self.chance(newValue) }
    }
    /// How often a packet is lost, and sent again later.
    public var lostPackets: Double {
        get { Self.part(raw.packet_lost) }
        set { raw.packet_lost = Self.chance(newValue) }
    }
    /// How often a packet takes up to 16 times as long, and others overtake it.
    public var latePackets: Double {
        get { Self.part(raw.packet_late) }
        set { raw.packet_late = Self.chance(newValue) }
    }
    /// How often a connection ends with a reset at both sides.
    public var resets: Double {
        get { Self.part(raw.connection_reset) }
        set { raw.connection_reset = Self.chance(newValue) }
    }
    /// How often the kernel has no memory to say what became of a request of io_uring.
    public var droppedCompletions: Double {
        get { Self.part(raw.completions_dropped) }
        set { raw.completions_dropped = Self.chance(newValue) }
    }
    /// How often a completion of io_uring finds no room in its queue, and waits for the next call.
    public var overflowingQueues: Double {
        get { Self.part(raw.completions_kept) }
        set { raw.completions_kept = Self.chance(newValue) }
    }
    /// How often a completion of io_uring comes once more, for a descriptor that was closed long ago. No kernel does that, and the
    /// library counts it in its loop statistics and goes on.
    public var staleCompletions: Double {
        get { Self.part(raw.stale_completions) }
        set { raw.stale_completions = Self.chance(newValue) }
    }
    /// How often time passes while a system call is made, so that what the network brings comes between any two calls of a program and
    /// not only between turns of its loops.
    public var callsThatTakeTime: Double {
        get { Self.part(raw.calls_take_time) }
        set { raw.calls_take_time = Self.chance(newValue) }
    }
}
