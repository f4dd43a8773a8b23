/// Writes of tasks that a full queue has not taken yet, in the order in which they came: for a task awaiting is the back
/// pressure. The loop's thread only.
final class WaitingWrites {
    @exclusivity(unchecked) private var writes: [AwaitedWrite] = []
    @exclusivity(unchecked) private var first = 0

    var count: Int { writes.count - first }

    var next: AwaitedWrite? { first < writes.count ? writes[first] : nil }

    func append(_ write: AwaitedWrite) { writes.append(write) }

    func removeFirst() {
        first += 1
        if first >= 32, first >= writes.count / 2 {
            writes.removeFirst(first)
            first = 0
        }
    }

    /// True when it was waiting.
    func remove(_ write: AwaitedWrite) -> Bool {
        guard let index = writes[first...].firstIndex(where: { $0 === write }) else { return false }
        writes.remove(at: index)
        return true
    }
}

extension Channel {
    /// Whether a write of a task has to wait: others wait already, or there is no room.
    func mustWait(_ size: Int) -> Bool {
        guard own.lifecycle.takesWrites else { return false }
        return own.waiting?.next != nil || !takesNow(size)
    }

    func wait(_ write: AwaitedWrite) {
        let waiting = own.waiting ?? WaitingWrites()
        own.waiting = waiting
        waiting.append(write)
    }

    func stopWaiting(_ write: AwaitedWrite) -> Bool {
        guard let waiting = own.waiting, waiting.remove(write) else { return false }
        admitWaiting()
        return true
    }

    /// There is room again: who has waited longest goes on first.
    func admitWaiting() {
        while let waiting = own.waiting, own.lifecycle.isActive {
            guard let write = waiting.next else {
                own.waiting = nil
                return
            }
            guard takesNow(write.size) else { return }
            waiting.removeFirst()
            write.begin()
        }
    }

    /// No more writes are taken: who waits is told why.
    func refuseWaiting() {
        while let waiting = own.waiting {
            guard let write = waiting.next else {
                own.waiting = nil
                return
            }
            waiting.removeFirst()
            write.begin()
        }
    }
}
