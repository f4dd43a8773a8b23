import SwiftTransport

/// The heap behind one run after the other: what each of them leaves of it is a leak, however little.
struct Heap {
    /// Runs between two looks, and looks of which the least counts: allocators and tables keep this and that.
    private static let runs = 20
    private static let looks = 25
    /// What a run may leave.
    private static let bytesPerRun = 4096

    private var count = 0
    private var least = Int.max
    private var before = Int.max

    /// Behind a run. What is wrong, if something is.
    mutating func look() -> String? {
        count += 1
        guard count % Self.runs == 0 else { return nil }
        least = min(least, Books.heapBytes)
        guard count % (Self.runs * Self.looks) == 0 else { return nil }
        let now = least
        defer { (before, least) = (now, Int.max) }
        // The first ones make what is made once.
        guard before < now, now - before > Self.bytesPerRun * Self.runs * Self.looks else { return nil }
        return "LEAK: \(now - before) bytes more of the heap in use than \(Self.runs * Self.looks) runs ago"
    }
}
