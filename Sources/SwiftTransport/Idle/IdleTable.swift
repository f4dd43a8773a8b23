/// Who on a loop wants to hear of silence, and when the next look at each is due: one dense array that a sweep reads from end to end,
/// instead of a timer each. The loop's thread only.
///
/// Times here are of 32 bits, in units of 1.05 ms, and wrap after 52 days: whether one is over is asked of the difference, and nothing
/// older than ``IdleTime/oldest`` is compared.
struct IdleTable {
    /// One who wants to hear.
    struct Watch {
        let owner: IdleOwner
        /// By the number of the state; 0: off.
        var limits: IdleTimes
        /// When each is to be looked at next.
        var next: IdleTimes
        /// Nothing was told yet since something happened, by states as bits.
        var first: UInt8 = 0b111
    }

    /// When a watch is to be looked at, by its place.
    private(set) var due = ContiguousArray<UInt32>()
    private(set) var watches = ContiguousArray<Watch>()
    /// The smallest limit since the table was last empty.
    private(set) var smallest = UInt32.max
    var timer: CallbackTimer?
    /// When the timer rings.
    var ringsAt: UInt32 = 0
    /// The sweep is under way, and the earliest that was set meanwhile.
    var isSweeping = false
    var earliestSet = Int32.max

    var count: Int { due.count }

    /// How long after a sweep the next one comes at the earliest.
    var tick: UInt32 { max(1, min(smallest >> 4, IdleTime.longestTick)) }

    mutating func append(_ watch: Watch) -> Int32 {
        due.append(watch.earliest)
        watches.append(watch)
        smallest = min(smallest, watch.limits.smallest)
        return Int32(due.count - 1)
    }

    mutating func replace(_ watch: Watch, at place: Int) {
        due[place] = watch.earliest
        watches[place] = watch
        smallest = min(smallest, watch.limits.smallest)
    }

    /// Its place is taken by the last one.
    mutating func remove(at place: Int) {
        let (lastDue, last) = (due.removeLast(), watches.removeLast())
        if place < due.count {
            due[place] = lastDue
            watches[place] = last
            last.owner.place = Int32(place)
        }
        if due.isEmpty { smallest = .max }
    }

    /// The last one before `end` that is due at `now`; how long the others up to there have, at the least, goes into `soonest`.
    func lastDue(before end: Int, at now: UInt32, _ soonest: inout Int32) -> Int? {
        due.withUnsafeBufferPointer { due in
            var index = min(end, due.count)
            var least = soonest
            defer { soonest = least }
            while index > 0 {
                index &-= 1
                let left = Int32(bitPattern: due[index] &- now)
                if left <= 0 { return index }
                least = min(least, left)
            }
            return nil
        }
    }
}

/// A number of units for each state.
struct IdleTimes {
    private var times: (UInt32, UInt32, UInt32)

    init(_ each: (IdleStateEvent.State) -> UInt32) { times = (each(.reader), each(.writer), each(.all)) }

    subscript(_ state: IdleStateEvent.State) -> UInt32 {
        get {
            switch state {
            case .reader: times.0
            case .writer: times.1
            case .all: times.2
            }
        }
        set {
            switch state {
            case .reader: times.0 = newValue
            case .writer: times.1 = newValue
            case .all: times.2 = newValue
            }
        }
    }

    /// Of those that are not 0.
    var smallest: UInt32 {
        IdleStateEvent.State.allCases.reduce(.max) { self[$1] == 0 ? $0 : min($0, self[$1]) }
    }
}

enum IdleTime {
    /// What a difference of two times is at most.
    static let oldest: UInt32 = 1 << 30
    static let longestTick: UInt32 = 95

    /// The time of a turn in units.
    @inline(__always)
    static func units(_ nanoseconds: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: nanoseconds >> 20) }

    /// At least as long; 0: off.
    static func units(_ limit: Duration?) -> UInt32 {
        guard let limit, limit > .zero else { return 0 }
        let nanoseconds = UInt64(0).advanced(by: limit)
        return UInt32(clamping: min(UInt64(oldest >> 1), (nanoseconds >> 20) + 1))
    }
}

extension IdleTable.Watch {
    init(_ owner: IdleOwner, _ limits: IdleLimits, from now: UInt32) {
        self.owner = owner
        let units = IdleTimes { state in
            switch state {
            case .reader: IdleTime.units(limits.reader)
            case .writer: IdleTime.units(limits.writer)
            case .all: IdleTime.units(limits.all)
            }
        }
        self.limits = units
        // What happened within the present unit may have happened at its end.
        next = IdleTimes { now &+ units[$0] &+ 1 }
    }

    /// When the first of its states is to be looked at.
    var earliest: UInt32 {
        var earliest: UInt32?
        for state in IdleStateEvent.State.allCases where limits[state] != 0 {
            let time = next[state]
            if let known = earliest, Int32(bitPattern: time &- known) >= 0 { continue }
            earliest = time
        }
        return earliest ?? 0
    }
}

/// A channel, or a handler's place in one.
enum IdleOwner {
    case channel(ChannelReference)
    case handler(ContextReference)

    /// Where its watch is; -1: nowhere.
    var place: Int32 {
        get {
            switch self {
            case .channel(let channel): channel.with { $0.own.idlePlace }
            case .handler(let context): context.with { $0.idlePlace }
            }
        }
        nonmutating set {
            switch self {
            case .channel(let channel): channel.with { $0.own.idlePlace = newValue }
            case .handler(let context): context.with { $0.idlePlace = newValue }
            }
        }
    }
}
