/// Writes that are over and whose writers have not been told yet, in the order in which they ended. One per loop, and the one
/// way to tell: whoever ends a write puts it here after all state has changed, so that no user code runs in the middle of
/// a walk, and nobody is told before those whose writes ended earlier. The loop's thread only.
struct CompletionQueue {
    private struct Item {
        let completion: WriteCompletion
        let result: WriteResult
        /// How far the write has come, if this is not its end: then `written` is below `total`.
        let progress: WriteProgress
    }

    private static let initialCapacity = 64

    private var items: UnsafeMutablePointer<Item>
    private var capacity = Self.initialCapacity
    private var head = 0
    private(set) var count = 0

    init() { items = .allocate(capacity: Self.initialCapacity) }

    /// Nothing must be left.
    func deallocate() {
        assert(count == 0)
        items.deallocate()
    }

    /// A write is over.
    @inline(__always)
    mutating func append(_ completion: WriteCompletion, _ result: WriteResult) {
        append(Item(completion: completion, result: result, progress: .over))
    }

    /// A write has come further.
    mutating func append(_ completion: WriteCompletion, _ progress: WriteProgress) {
        append(Item(completion: completion, result: nil, progress: progress))
    }

    @inline(__always)
    private mutating func append(_ item: Item) {
        if count == capacity { grow() }
        (items + ((head &+ count) & (capacity &- 1))).initialize(to: item)
        count &+= 1
    }

    /// Takes the first one out. To be told when the access is over.
    @inline(__always)
    fileprivate mutating func removeFirst() -> (WriteCompletion, WriteResult, WriteProgress) {
        assert(count > 0)
        let item = (items + head).move()
        head = (head &+ 1) & (capacity &- 1)
        count &-= 1
        return (item.completion, item.result, item.progress)
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Item>.allocate(capacity: capacity * 2)
        for index in 0..<count {
            (larger + index).initialize(to: (items + ((head &+ index) & (capacity &- 1))).move())
        }
        items.deallocate()
        items = larger
        head = 0
        capacity *= 2
    }
}

extension EventLoop {
    /// Tells those who wait now, in their order; who joins them meanwhile has time until the end of the turn, or a writer that
    /// answers each completion with the next write would never let the others have theirs. From within one of them
    /// it does nothing: the outermost goes on.
    @inline(__always)
    func tellCompletions() {
        if own.completions.count > 0, !own.isTelling { tellWaiting() }
    }

    @inline(never)
    private func tellWaiting() {
        own.isTelling = true
        var left = own.completions.count
        while left > 0 {
            left &-= 1
            let (completion, result, progress) = own.completions.removeFirst()
            if progress.isOver { completion.complete(result) } else { completion.report(progress) }
        }
        own.isTelling = false
    }
}

extension WriteProgress {
    fileprivate static var over: WriteProgress { WriteProgress(written: 0, total: 0) }
    fileprivate var isOver: Bool { written == total }
}
