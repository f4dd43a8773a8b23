import Glibc
import SwiftTransport
import Synchronization

/// One direction of a session: the books of who writes, and the check of what arrives. Any thread.
///
/// Writers belong to lanes: within a lane the order is known, between lanes it is not. A write that may be taken back or
/// refused has at least ``markLength`` bytes, by which it is recognised when it comes, or missed when it does not.
final class Stream: Sendable {
    /// Bytes that tell one piece from all others of its stream.
    static let markLength = 16

    /// A piece of the stream that came or went: where in the pattern, and how long.
    struct Segment {
        var phase: Int
        var count: Int
    }

    enum Arrival: UInt8 { case none, partly, whole, missing }

    struct Entry {
        var phase: Int32
        var count: Int32
        var next: Int32 = -1
        let lane: UInt8
        /// May be missing although later ones come.
        var isRemovable: Bool
        /// Somebody waits for its end.
        let isTold: Bool
        /// Taken by the channel for all that the writer can know.
        var isAccepted = false
        /// One write may be several entries: this is the last of them.
        var isLastPart = true
        var tells: UInt8 = 0
        var failure: TransportError.Code?
        var arrival = Arrival.none

        var hasSucceeded: Bool { tells > 0 && failure == nil }
        var hasFailed: Bool { tells > 0 && failure != nil }
    }

    /// How the stream ended for its reader.
    enum End: UInt8 { case open, clean, broken, left }

    struct Lane {
        var last: Int32 = -1
        /// The first that has not come yet.
        var cursor: Int32 = -1
    }

    struct State {
        var entries: [Entry] = []
        var lanes: [Lane] = []
        var current: Int32 = -1
        var offset: Int32 = 0
        var undecided: [UInt8] = []
        var received = 0
        /// Bytes of the largest write.
        var largest = 0
        var end = End.open
        var isBroken = false
    }

    /// Several writers without an order between them.
    let hasLanes: Bool
    private let base: Int
    let state = Mutex(State())

    init(key: UInt64, hasLanes: Bool) {
        self.hasLanes = hasLanes
        base = Int(key % UInt64(Pattern.phases))
    }

    var received: Int { state.withLock { $0.received } }
    var largest: Int { state.withLock { $0.largest } }
    /// Its reader has met the end, or has left.
    var hasEnded: Bool { state.withLock { $0.end != .open } }

    // MARK: The writer

    /// Enters a write that is about to be made. Its number in the books, and where its bytes are.
    func issue(_ count: Int, lane: Int = 0, isTold: Bool, isRemovable: Bool = false) -> (index: Int, phase: Int) {
        precondition(count > 0 && (count >= Self.markLength || !(hasLanes || isRemovable)))
        return state.withLock { state in
            let index = state.entries.count
            state.largest = max(state.largest, count)
            // All phases of a stream differ, because their number is a prime.
            let phase = (base + index * 7_919) % Pattern.phases
            state.append(
                Entry(
                    phase: Int32(phase), count: Int32(count), lane: UInt8(lane), isRemovable: isRemovable,
                    isTold: isTold),
                lane)
            return (index, phase)
        }
    }

    /// Enters a write of bytes that came from elsewhere. The numbers of its entries.
    func issue(_ segments: [Segment], isTold: Bool) -> Range<Int> {
        state.withLock { state in
            let first = state.entries.count
            state.largest = max(state.largest, segments.reduce(0) { $0 + $1.count })
            for segment in segments {
                state.append(
                    Entry(
                        phase: Int32(segment.phase), count: Int32(segment.count), lane: 0, isRemovable: false,
                        isTold: isTold, isLastPart: false),
                    0)
            }
            state.entries[state.entries.count - 1].isLastPart = true
            return first..<state.entries.count
        }
    }

    /// The call that wrote them has returned, and nobody was told that it failed.
    func accepted(_ range: Range<Int>) {
        state.withLock { state in
            for index in range where state.entries[index].tells == 0 { state.entries[index].isAccepted = true }
        }
    }

    func setRemovable(_ index: Int, _ isRemovable: Bool) {
        state.withLock { $0.entries[index].isRemovable = isRemovable }
    }

    /// Somebody was told how a write ended. False when it was not the first time.
    func told(_ range: Range<Int>, _ result: WriteResult) -> Bool {
        state.withLock { state in
            var isFirst = true
            for index in range {
                if state.entries[index].tells > 0 { isFirst = false }
                state.entries[index].tells = min(100, state.entries[index].tells) + 1
                state.entries[index].failure = result?.code
            }
            return isFirst
        }
    }

    func failure(of index: Int) -> TransportError.Code? { state.withLock { $0.entries[index].failure } }

    /// No more than `count` bytes of the last write have gone.
    func truncate(_ index: Int, to count: Int) {
        state.withLock { $0.entries[index].count = Int32(count) }
    }

    // MARK: The reader

    /// Checks bytes as they come. `nil`, or what is wrong with them.
    func receive(_ bytes: UnsafeRawBufferPointer, _ segments: UnsafeMutablePointer<[Segment]>? = nil) -> String? {
        state.withLock { state in
            state.received += bytes.count
            guard !state.isBroken else { return nil }
            return state.receive(bytes, hasLanes, segments)
        }
    }

    func ended(_ end: End) {
        state.withLock { if $0.end == .open { $0.end = end } }
    }
}

extension Stream.State {
    typealias Segment = Stream.Segment

    mutating func append(_ entry: Stream.Entry, _ lane: Int) {
        while lanes.count <= lane { lanes.append(Stream.Lane()) }
        let index = Int32(entries.count)
        entries.append(entry)
        if lanes[lane].last >= 0 { entries[Int(lanes[lane].last)].next = index }
        lanes[lane].last = index
        if lanes[lane].cursor < 0 { lanes[lane].cursor = index }
    }

    mutating func receive(
        _ bytes: UnsafeRawBufferPointer, _ hasLanes: Bool, _ segments: UnsafeMutablePointer<[Segment]>?
    ) -> String? {
        if undecided.isEmpty { return consume(bytes, hasLanes, isLast: false, segments) }
        let all = undecided + bytes
        undecided = []
        // They would be those of the bytes before too, and not those of these alone.
        return all.withUnsafeBytes { consume($0, hasLanes, isLast: false, nil) }
    }

    /// The stream has ended: what was too short to be recognised is recognised now.
    mutating func finish(_ hasLanes: Bool) -> String? {
        guard !isBroken, !undecided.isEmpty else { return nil }
        let rest = undecided
        undecided = []
        return rest.withUnsafeBytes { consume($0, hasLanes, isLast: true, nil) }
    }

    private mutating func consume(
        _ bytes: UnsafeRawBufferPointer, _ hasLanes: Bool, isLast: Bool, _ segments: UnsafeMutablePointer<[Segment]>?
    ) -> String? {
        var rest = bytes
        while rest.count > 0 {
            if current < 0 {
                switch choose(rest, hasLanes, isLast: isLast) {
                case .entry(let index):
                    current = index
                    offset = 0
                    entries[Int(index)].arrival = .partly
                case .undecided:
                    undecided = [UInt8](rest)
                    return nil
                case .unknown:
                    isBroken = true
                    return "bytes that nobody wrote here: \(describe(rest))"
                }
            }
            let entry = entries[Int(current)]
            let length = min(rest.count, Int(entry.count - offset))
            let phase = Int(entry.phase) + Int(offset)
            guard memcmp(rest.baseAddress!, Pattern.table + phase, length) == 0 else {
                isBroken = true
                return "wrong bytes: \(describe(rest))"
            }
            segments?.pointee.append(Segment(phase: phase % Pattern.phases, count: length))
            offset += Int32(length)
            if offset == entry.count { leave(current) }
            rest = UnsafeRawBufferPointer(rebasing: rest[length...])
        }
        return nil
    }

    private mutating func leave(_ index: Int32) {
        entries[Int(index)].arrival = .whole
        lanes[Int(entries[Int(index)].lane)].cursor = entries[Int(index)].next
        current = -1
    }

    private enum Choice {
        case entry(Int32)
        case undecided, unknown
    }

    /// Which write begins here.
    private mutating func choose(_ bytes: UnsafeRawBufferPointer, _ hasLanes: Bool, isLast: Bool) -> Choice {
        // A few bytes are those of many a write: whoever is next comes before those for whom others would have to be missing.
        if isLast, let lane = lanes.indices.first(where: { isNext($0, bytes) }) { return .entry(lanes[lane].cursor) }
        let choice = choose(bytes, hasLanes, isLast: isLast, isCut: false)
        // What the kernel had begun with when it was given up ends the stream, behind a few bytes of it.
        guard case .unknown = choice, isLast, end != .clean else { return choice }
        return choose(bytes, hasLanes, isLast: true, isCut: true)
    }

    private mutating func choose(
        _ bytes: UnsafeRawBufferPointer, _ hasLanes: Bool, isLast: Bool, isCut: Bool
    ) -> Choice {
        var isUndecided = false
        for lane in lanes.indices {
            var index = lanes[lane].cursor
            while index >= 0 {
                let entry = entries[Int(index)]
                if !hasLanes, !entry.isRemovable {
                    skip(lane, to: index)
                    return .entry(index)
                }
                let length = min(bytes.count, Stream.markLength, Int(entry.count))
                // At the end every promise has been kept: what was taken back does not begin here.
                let isGone = isLast && entry.wasTakenBack && !(isCut && entry.failure == .cancelled)
                if !isGone, memcmp(bytes.baseAddress!, Pattern.table + Int(entry.phase), length) == 0 {
                    if length == Stream.markLength || length == entry.count || isLast {
                        skip(lane, to: index)
                        return .entry(index)
                    }
                    isUndecided = true
                    // Without lanes the next one would have to come next.
                    if !hasLanes { break }
                }
                if !entry.isRemovable { break }
                index = entry.next
            }
        }
        return isUndecided ? .undecided : .unknown
    }

    private func isNext(_ lane: Int, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard lanes[lane].cursor >= 0 else { return false }
        let entry = entries[Int(lanes[lane].cursor)]
        return !entry.wasTakenBack
            && memcmp(bytes.baseAddress!, Pattern.table + Int(entry.phase), min(bytes.count, Int(entry.count))) == 0
    }

    private mutating func skip(_ lane: Int, to index: Int32) {
        while lanes[lane].cursor != index {
            let missing = lanes[lane].cursor
            entries[Int(missing)].arrival = .missing
            lanes[lane].cursor = entries[Int(missing)].next
        }
    }

    // MARK: What went wrong

    private func describe(_ bytes: UnsafeRawBufferPointer) -> String {
        var text = "at \(received), "
        if current >= 0 {
            text += "in #\(current) (\(entries[Int(current)].count) bytes) at \(offset)"
        } else {
            text +=
                "behind a whole one; due: "
                + lanes.indices.map { "lane \($0) #\(lanes[$0].cursor)" }.joined(separator: ", ")
        }
        guard let phase = Pattern.find(UnsafeRawBufferPointer(rebasing: bytes.prefix(Stream.markLength))) else {
            return text + "; the bytes are no part of the pattern: \([UInt8](bytes.prefix(16)))"
        }
        // The table is not so long that no two writes have a part of it in common.
        let owners = entries.enumerated().compactMap { index, entry -> String? in
            let distance = (phase - Int(entry.phase) + Pattern.phases) % Pattern.phases
            guard distance < entry.count else { return nil }
            return "#\(index) (lane \(entry.lane), \(entry.count) bytes, \(entry.arrival)) at \(distance)"
        }
        return text + "; they are of \(owners.isEmpty ? "another stream" : owners.joined(separator: " or "))"
    }
}
