/// What sessions may do beside what they must, and what may be drawn for them: each of it can be left out of a run, to see whether
/// what is wrong with it is wrong without.
struct Habits: OptionSet, Sendable {
    let rawValue: Int

    /// Loops with tiny rings, little memory and odd thresholds instead of their defaults.
    static let oddLoops = Habits(rawValue: 1)
    /// Channels with low marks, hard limits, buffers and half-closures of their own.
    static let oddChannels = Habits(rawValue: 2)
    static let zeroCopy = Habits(rawValue: 4)
    /// Handlers that change the pipeline, and what is written through it.
    static let meddlers = Habits(rawValue: 8)
    /// Tasks and threads that write beside the handlers.
    static let lanes = Habits(rawValue: 16)
    /// Writes of more than 4 KiB.
    static let largeWrites = Habits(rawValue: 32)
    static let echoes = Habits(rawValue: 64)
    /// Other ends than that which waits for everything.
    static let hardEnds = Habits(rawValue: 128)
    /// Strangers, connects that fail, listeners that come and go.
    static let noise = Habits(rawValue: 256)
    /// Servers that come to their end while others go on.
    static let leavingServers = Habits(rawValue: 512)
    /// The group shuts down while sessions last.
    static let endInTheMiddle = Habits(rawValue: 1024)

    static let names: [(habit: Habits, name: String)] = [
        (.oddLoops, "odd loops"), (.oddChannels, "odd channels"), (.zeroCopy, "zero copy"), (.meddlers, "meddlers"),
        (.lanes, "lanes"), (.largeWrites, "large writes"), (.echoes, "echoes"), (.hardEnds, "hard ends"),
        (.noise, "noise"),
        (.leavingServers, "leaving servers"), (.endInTheMiddle, "end in the middle"),
    ]
    static let all = Habits(names.map(\.habit))

    /// Those of a run: each is missing from some, so that none hides what is wrong without it.
    static func draw(_ random: inout Random) -> Habits {
        var habits = Habits.all
        for (habit, _) in names where random.oneIn(habit.hides ? 2 : 5) { habits.remove(habit) }
        return habits
    }

    /// It ends what would hang.
    private var hides: Bool { self == .leavingServers || self == .endInTheMiddle }
}

extension EndPlan {
    /// Without what `habits` leaves out. What was drawn stays drawn, so that nothing else changes.
    mutating func keep(_ habits: Habits) {
        if !habits.contains(.lanes), !isTunnel { lanes = 0 }
        if !habits.contains(.largeWrites) { largest = min(largest, 4096) }
        if !habits.contains(.echoes) { isEcho = false }
        if !habits.contains(.hardEnds) {
            ending = .drain
            suddenEnd = 0
        }
    }
}

extension ChannelProfile {
    mutating func keep(_ habits: Habits) {
        if !habits.contains(.oddChannels) {
            self = ChannelProfile(plain: self)
        }
        if !habits.contains(.meddlers) {
            meddlers = 0
            hasScrambler = false
        }
    }
}
