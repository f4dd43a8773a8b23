/// Where a channel is in its life, and what everything that can happen to it makes of that.
///
/// Calls nobody: ``on(_:)`` changes the phase and says what is to be done, and the channel does it afterwards, so that no user
/// code runs in between. The two directions end on their own; a close ends both.
struct ChannelLifecycle: Equatable {
    /// The order matters: see the questions below.
    enum Phase: UInt8, CaseIterable {
        /// Has no connection yet.
        case opening
        /// Connected, and both directions are open.
        case open
        /// The peer has ended its stream; ours is open.
        case inputEnded
        /// No more writes are taken; the end of stream goes behind what is queued. Still reads.
        case outputEnding
        /// The same, and the peer has ended its stream.
        case outputEndingInputEnded
        /// The peer has our end of stream. Still reads.
        case outputEnded
        /// Both ends of stream are there, and the handlers hear of the peer's.
        case bothEnded
        /// Closing gracefully: what is queued is sent, and what comes in is dropped.
        case draining
        /// The same, and the peer has ended its stream.
        case drainingInputEnded
        /// Closing for a hole in the stream: what was flushed before it is sent.
        case breaking
        /// Everything is sent, the end of stream too: only the peer's own is missing.
        case awaitingPeer
        /// What was in front of the hole is on its way to the peer, and a reset would destroy it.
        case delivering
        /// The descriptor is about to be closed: waits for the last completion of the kernel.
        case closing
        /// The same, with a reset.
        case resetting
        /// Over.
        case closed
    }

    /// What happens to a channel, by whose doing ever.
    enum Event: Hashable {
        /// The descriptor is connected.
        case connected
        /// The peer's end of stream, or a failure that is one.
        case inputEnded
        /// The user ends the output.
        case outputEnds
        /// Nothing that may be sent is left in the queue.
        case sent
        /// A graceful close.
        case drain
        /// A close at once; with a reset when it is one, or when something accepted was not handed to the kernel.
        case close(resets: Bool)
        /// A write failed that nobody waits for.
        case hole
        /// The peer's kernel has everything that ours took.
        case delivered
        /// The time for the end is over.
        case timeIsOver(kernelReadsOurMemory: Bool)
        /// A graceful shutdown has begun.
        case shutdown
        /// The slot is somebody else's.
        case released
    }

    /// What is to be done about it.
    enum Action: Hashable {
        case nothing
        /// The handlers hear that the channel is active, and reading begins.
        case activate
        /// The handlers hear of the peer's end of stream.
        case tellInputEnded
        /// What is queued is flushed; behind it comes the end of stream.
        case flushAndEndOutput
        /// The peer gets the end of stream.
        case endOutput
        /// No more writes and bytes are taken, what is queued is flushed; behind it comes the end.
        case drain
        /// A drain that is under way already: only its time may become shorter.
        case limit
        /// No more writes and bytes are taken; behind what is flushed comes the end.
        case stopTaking
        /// One step further on the way to the end.
        case goOn
        /// The peer gets the end of stream, and is read from until its own.
        case endOutputAndAwaitPeer
        /// It has it: is read from until its own.
        case awaitPeer
        /// Waits until the peer's kernel has everything.
        case awaitDelivery
        /// The handlers hear of the shutdown.
        case tellShutdown
        /// The slot closes, as the phase says.
        case tearDown
        /// The same, and what was not finished was cut off.
        case cutOff
        /// A slot that closes already resets.
        case reset
        /// Everybody hears that the channel is closed.
        case finish
        /// The event cannot come in this phase: a mistake of ours, and nothing is done.
        case impossible
    }

    private(set) var phase: Phase
    /// True exactly from the moment in which the handlers heard that the channel is active.
    private(set) var hasBeenActive = false

    init(_ phase: Phase = .opening) { self.phase = phase }

    // MARK: Questions

    /// Connected, and nobody has closed it.
    @inline(__always) var isActive: Bool { between(.open, .bothEnded) }
    /// Connected, and the output is open.
    @inline(__always) var takesWrites: Bool { between(.open, .inputEnded) }
    /// What is queued may still be sent.
    @inline(__always) var sends: Bool { between(.open, .delivering) }
    /// On the way to an orderly end.
    var isDraining: Bool { between(.draining, .delivering) }
    /// The slot closes, or is somebody else's.
    @inline(__always) var isOver: Bool { phase.rawValue >= Phase.closing.rawValue }
    /// The peer may still send something that matters.
    var isInputOpen: Bool {
        switch phase {
        case .opening, .open, .outputEnding, .outputEnded, .draining, .awaitingPeer: true
        default: false
        }
    }

    @inline(__always)
    private func between(_ first: Phase, _ last: Phase) -> Bool {
        phase.rawValue &- first.rawValue <= last.rawValue &- first.rawValue
    }

    // MARK: Transitions

    /// Changes the phase, and says what is to be done.
    mutating func on(_ event: Event) -> Action {
        let (next, action) = transition(event)
        assert(action != .impossible, "\(event) while \(phase)")
        phase = next
        if action == .activate { hasBeenActive = true }
        return action
    }

    /// What an event makes of a phase. The one place where it is written.
    func transition(_ event: Event) -> (phase: Phase, action: Action) {
        switch event {
        case .connected: onConnected
        case .inputEnded: onInputEnded
        case .outputEnds: onOutputEnds
        case .sent: onSent
        case .drain: onDrain
        case .close(let resets): onClose(resets)
        case .hole: onHole
        case .delivered: onDelivered
        case .timeIsOver(let kernelReads): onTimeIsOver(kernelReads)
        case .shutdown: onShutdown
        case .released: onReleased
        }
    }

    private typealias Transition = (phase: Phase, action: Action)

    private var onConnected: Transition {
        switch phase {
        case .opening: (.open, .activate)
        // A handler closed it when it was added.
        case .closing, .resetting, .closed: (phase, .nothing)
        case .open, .inputEnded, .outputEnding, .outputEndingInputEnded, .outputEnded, .bothEnded, .draining,
            .drainingInputEnded, .breaking, .awaitingPeer, .delivering:
            (phase, .impossible)
        }
    }

    private var onInputEnded: Transition {
        switch phase {
        case .open: (.inputEnded, .tellInputEnded)
        case .outputEnding: (.outputEndingInputEnded, .tellInputEnded)
        case .outputEnded: (.bothEnded, .tellInputEnded)
        case .draining: (.drainingInputEnded, .goOn)
        case .awaitingPeer: (.closing, .tearDown)
        case .breaking, .delivering, .closing, .resetting, .closed: (phase, .nothing)
        case .opening, .inputEnded, .outputEndingInputEnded, .bothEnded, .drainingInputEnded: (phase, .impossible)
        }
    }

    private var onOutputEnds: Transition {
        switch phase {
        case .open: (.outputEnding, .flushAndEndOutput)
        case .inputEnded: (.outputEndingInputEnded, .flushAndEndOutput)
        case .opening, .outputEnding, .outputEndingInputEnded, .outputEnded, .bothEnded, .draining,
            .drainingInputEnded, .breaking, .awaitingPeer, .delivering, .closing, .resetting, .closed:
            (phase, .nothing)
        }
    }

    private var onSent: Transition {
        switch phase {
        case .outputEnding: (.outputEnded, .endOutput)
        case .draining: (.awaitingPeer, .endOutputAndAwaitPeer)
        case .outputEndingInputEnded, .drainingInputEnded: (.closing, .tearDown)
        case .breaking: (.delivering, .awaitDelivery)
        case .delivering: (phase, .awaitDelivery)
        case .awaitingPeer: (phase, .awaitPeer)
        case .opening, .open, .inputEnded, .outputEnded, .bothEnded, .closing, .resetting, .closed: (phase, .nothing)
        }
    }

    private var onDrain: Transition {
        switch phase {
        case .open, .outputEnding: (.draining, .drain)
        case .inputEnded, .outputEndingInputEnded: (.drainingInputEnded, .drain)
        case .outputEnded: (.awaitingPeer, .drain)
        case .opening, .bothEnded: (.closing, .tearDown)
        case .draining, .drainingInputEnded, .breaking, .awaitingPeer, .delivering: (phase, .limit)
        case .closing, .resetting, .closed: (phase, .nothing)
        }
    }

    private func onClose(_ resets: Bool) -> Transition {
        switch phase {
        case .breaking, .delivering: (.resetting, .tearDown)
        case .opening, .open, .inputEnded, .outputEnding, .outputEndingInputEnded, .outputEnded, .bothEnded,
            .draining, .drainingInputEnded, .awaitingPeer:
            (resets ? .resetting : .closing, .tearDown)
        case .closing where resets: (.resetting, .reset)
        case .closing, .resetting, .closed: (phase, .nothing)
        }
    }

    private var onHole: Transition {
        switch phase {
        case .open, .inputEnded, .outputEnding, .outputEndingInputEnded, .draining, .drainingInputEnded:
            (.breaking, .stopTaking)
        // The end of stream was sent: nothing can be missing in front of it.
        case .outputEnded, .bothEnded, .breaking, .awaitingPeer, .delivering: (phase, .nothing)
        case .opening, .closing, .resetting, .closed: (phase, .impossible)
        }
    }

    private var onDelivered: Transition {
        switch phase {
        // Nobody who leaves waits for a peer that has everything and says nothing.
        case .awaitingPeer: (.closing, .tearDown)
        case .delivering: (.resetting, .tearDown)
        case .opening, .open, .inputEnded, .outputEnding, .outputEndingInputEnded, .outputEnded, .bothEnded,
            .draining, .drainingInputEnded, .breaking, .closing, .resetting, .closed:
            (phase, .impossible)
        }
    }

    private func onTimeIsOver(_ kernelReadsOurMemory: Bool) -> Transition {
        switch phase {
        // The kernel has everything, and the peer its end of stream: all that is missing is the peer's own.
        case .awaitingPeer where !kernelReadsOurMemory: (.closing, .tearDown)
        case .opening, .open, .inputEnded, .outputEnding, .outputEndingInputEnded, .outputEnded, .bothEnded,
            .draining, .drainingInputEnded, .breaking, .awaitingPeer, .delivering:
            (.resetting, .cutOff)
        // The kernel reads our memory until the peer has it, and this peer does not read.
        case .closing: (.resetting, .reset)
        case .resetting, .closed: (phase, .nothing)
        }
    }

    private var onShutdown: Transition {
        switch phase {
        case .opening: (.closing, .tearDown)
        case .open, .inputEnded, .outputEnding, .outputEndingInputEnded, .outputEnded, .bothEnded:
            (phase, .tellShutdown)
        case .draining, .drainingInputEnded, .breaking, .awaitingPeer, .delivering: (phase, .goOn)
        case .closing, .resetting, .closed: (phase, .nothing)
        }
    }

    private var onReleased: Transition {
        switch phase {
        case .closing, .resetting: (.closed, .finish)
        case .opening, .open, .inputEnded, .outputEnding, .outputEndingInputEnded, .outputEnded, .bothEnded,
            .draining, .drainingInputEnded, .breaking, .awaitingPeer, .delivering, .closed:
            (phase, .impossible)
        }
    }
}
