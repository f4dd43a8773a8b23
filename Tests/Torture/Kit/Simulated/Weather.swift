import SwiftTransport
import TransportTesting

/// What goes wrong in a simulated run: which faults, how often, and which catastrophes. Each run has some of them and not others, so
/// that none hides behind another.
struct Weather: Sendable {
    /// A kind of fault, and how it is set.
    struct Kind: Sendable {
        let name: String
        let isStorm: Bool
        /// The largest part of the times it could strike.
        let most: Double
        /// It could seldom strike: when it does at all, then often.
        var isRare = false
        let set: @Sendable (inout SimulatedFaults, Double) -> Void
    }

    /// Faults that nobody may notice but by the time it takes, and those that may end a connection.
    static let kinds: [Kind] = [
        Kind(name: "short receives", isStorm: false, most: 0.9) { $0.shortReceives = $1 },
        Kind(name: "short sends", isStorm: false, most: 0.9) { $0.shortSends = $1 },
        Kind(name: "sends that wait", isStorm: false, most: 0.5) { $0.sendsThatWait = $1 },
        Kind(name: "receives that wait", isStorm: false, most: 0.5) { $0.receivesThatWait = $1 },
        Kind(name: "ending multishots", isStorm: false, most: 0.5) { $0.endingMultishots = $1 },
        Kind(name: "missing buffers", isStorm: false, most: 0.5) { $0.missingBuffers = $1 },
        Kind(name: "interrupted waits", isStorm: false, most: 0.3) { $0.interruptedWaits = $1 },
        Kind(name: "refused submissions", isStorm: false, most: 0.3, isRare: true) { $0.refusedSubmissions = $1 },
        Kind(name: "partial submissions", isStorm: false, most: 0.5, isRare: true) { $0.partialSubmissions = $1 },
        Kind(name: "wakes for nothing", isStorm: false, most: 0.5) { $0.wakesForNothing = $1 },
        Kind(name: "late notifications", isStorm: false, most: 0.5, isRare: true) { $0.lateNotifications = $1 },
        Kind(name: "copies", isStorm: false, most: 0.9) { $0.copies = $1 },
        Kind(name: "spurious edges", isStorm: false, most: 0.5) { $0.spuriousEdges = $1 },
        Kind(name: "lost packets", isStorm: false, most: 0.1) { $0.lostPackets = $1 },
        Kind(name: "late packets", isStorm: false, most: 0.3) { $0.latePackets = $1 },
        Kind(name: "stale completions", isStorm: false, most: 0.5) { $0.staleCompletions = $1 },
        Kind(name: "failing accepts", isStorm: true, most: 0.5, isRare: true) { $0.failingAccepts = $1 },
        Kind(name: "failing sockets", isStorm: true, most: 0.3, isRare: true) { $0.failingSockets = $1 },
        Kind(name: "failing options", isStorm: true, most: 0.1, isRare: true) { $0.failingOptions = $1 },
        Kind(name: "failing connects", isStorm: true, most: 0.5, isRare: true) { $0.failingConnects = $1 },
        Kind(name: "failing allocations", isStorm: true, most: 0.01) { $0.failingAllocations = $1 },
        Kind(name: "resets", isStorm: true, most: 0.01) { $0.resets = $1 },
        Kind(name: "dropped completions", isStorm: true, most: 0.03, isRare: true) { $0.droppedCompletions = $1 },
        Kind(name: "overflowing queues", isStorm: true, most: 0.1) { $0.overflowingQueues = $1 },
        Kind(name: "failing binds", isStorm: true, most: 0.5, isRare: true) { $0.failingBinds = $1 },
        Kind(name: "failing set-ups", isStorm: true, most: 0.5, isRare: true) { $0.failingSetUps = $1 },
        Kind(name: "failing watches", isStorm: true, most: 0.3, isRare: true) { $0.failingWatches = $1 },
        Kind(name: "failing sends", isStorm: true, most: 0.05, isRare: true) { $0.failingSends = $1 },
        Kind(name: "failing receives", isStorm: true, most: 0.05, isRare: true) { $0.failingReceives = $1 },
        Kind(name: "failing locks", isStorm: false, most: 0.5, isRare: true) { $0.failingLocks = $1 },
        Kind(name: "failing look-ups", isStorm: true, most: 0.7, isRare: true) { $0.failingLookUps = $1 },
        Kind(name: "late cancels", isStorm: false, most: 0.9, isRare: true) { $0.lateCancels = $1 },
        Kind(name: "ending tries", isStorm: true, most: 0.9, isRare: true) { $0.endingTries = $1 },
    ]

    /// What strikes a host or a link as a whole, at times drawn from the seed.
    enum Catastrophe: CaseIterable, Sendable { case partition, delay, loss, freeze, resets }

    var isStormy: Bool
    /// By the position in ``kinds``.
    var parts: [Double]
    var catastrophes: [Catastrophe]
    /// The network goes on between two calls of a program.
    private var callsTakeTime: Double
    private let random: Random

    private static let time = "time between calls"

    init(seed: UInt64) {
        var random = Random(seed, 0, 20)
        isStormy = random.oneIn(3)
        // Calm days are there to find what a fault would hide.
        let isCalm = random.oneIn(8)
        parts = []
        for kind in Self.kinds {
            let strikes = !isCalm && random.oneIn(3) && (!kind.isStorm || isStormy)
            let part = Double(random.logarithmic(kind.isRare ? 200 : 1, 1000)) / 1000 * kind.most
            parts.append(strikes ? part : 0)
        }
        // Without memory for another ring there is no way to go on, and it says so.
        let memory = Self.kinds.firstIndex { $0.name == "failing allocations" }!
        let setUps = Self.kinds.firstIndex { $0.name == "failing set-ups" }!
        let dropped = Self.kinds.firstIndex { $0.name == "dropped completions" }!
        if parts[dropped] > 0 {
            parts[memory] = 0
            parts[setUps] = 0
        }
        catastrophes = []
        callsTakeTime = random.oneIn(3) ? 0.5 : 1 / 16
        self.random = Random(random.next())
        for catastrophe in Catastrophe.allCases where !isCalm && random.oneIn(4) {
            if catastrophe != .resets || isStormy { catastrophes.append(catastrophe) }
        }
        // Nothing is sent in vain where everything arrives.
        if has("ending tries"), !catastrophes.contains(.partition) { catastrophes.append(.partition) }
    }

    var faults: SimulatedFaults {
        var faults = SimulatedFaults()
        for (kind, part) in zip(Self.kinds, parts) { kind.set(&faults, part) }
        faults.callsThatTakeTime = callsTakeTime
        return faults
    }

    /// What is sent may never arrive.
    var losesPackets: Bool {
        catastrophes.contains(.partition) || catastrophes.contains(.loss)
            || has("lost packets")
    }

    /// What makes the rarer faults strike.
    var overture: [Noise.Kind] {
        var kinds: [Noise.Kind] = []
        if has("failing set-ups") { kinds.append(.smallGroup) }
        // Each send may be given up for three reasons, with and without a copy.
        if has("ending tries") { kinds += [.stuck, .stuck, .stuck] }
        if has("late notifications"), has("late cancels") { kinds.append(.stuck) }
        if isStormy, catastrophes.contains(.freeze) { kinds.append(.caught) }
        return kinds
    }

    func has(_ kind: String) -> Bool { parts[Self.kinds.firstIndex { $0.name == kind }!] > 0 }

    var names: [String] {
        zip(Self.kinds, parts).compactMap { $1 > 0 ? $0.name : nil } + catastrophes.map { "\($0)" }
            + (callsTakeTime > 0 ? [Self.time] : [])
    }

    static let allNames = Set(kinds.map(\.name) + Catastrophe.allCases.map { "\($0)" } + [time])

    /// Leaves only what has one of these names.
    mutating func keep(_ names: [String]) {
        for (index, kind) in Self.kinds.enumerated() where !names.contains(kind.name) { parts[index] = 0 }
        catastrophes.removeAll { !names.contains("\($0)") }
        if !names.contains(Self.time) { callsTakeTime = 0 }
        let storms = zip(Self.kinds, parts).contains { $0.isStorm && $1 > 0 }
        isStormy = storms || catastrophes.contains(.resets)
    }

    /// Goes on until the task is cancelled.
    func rage(in network: SimulatedNetwork, _ one: SimulatedHost, _ other: SimulatedHost) async {
        var random = random
        guard !catastrophes.isEmpty else { return }
        while !Task.isCancelled {
            await Clock.sleep(.microseconds(random.logarithmic(100, 200_000)))
            let (from, to) = random.flip() ? (one, other) : (other, one)
            let catastrophe = catastrophes[random.below(catastrophes.count)]
            switch catastrophe {
            case .partition:
                if random.flip() {
                    network.partition(from, from: to)
                } else {
                    network.partitionOneWay(from: from, to: to)
                }
            case .delay: network.delay(.microseconds(random.logarithmic(1, 100_000)), from: from, to: to)
            case .loss: network.loss(0.5, from: from, to: to)
            case .freeze: from.freeze()
            case .resets: from.resetConnections()
            }
            // Long enough for what is sent to be sent in vain more than once.
            let isLong = catastrophe == .partition && has("ending tries")
            await Clock.sleep(.microseconds(random.logarithmic(isLong ? 50_000 : 100, isLong ? 5_000_000 : 500_000)))
            // Before anybody there has looked.
            if catastrophe == .freeze, isStormy, random.flip() { from.resetConnections() }
            network.heal()
        }
        network.heal()
    }
}
