/// A context as its neighbours, its loop and the completions of its writes know it: one word that counts no reference.
///
/// What keeps it alive meanwhile: the pipeline holds its contexts, and one that leaves is let go of at the end of the turn
/// (``EventLoop/releaseAfterTurn(_:)``), when nobody follows a link any more; a completion holds its own.
struct ContextReference {
    private let object: Unmanaged<ChannelContext>

    @inline(__always)
    init(_ context: ChannelContext) { object = .passUnretained(context) }

    /// Inlined together with its caller's closure, it costs what a call through a pointer does.
    @inline(__always)
    func with<Answer>(_ body: (ChannelContext) -> Answer) -> Answer { object._withUnsafeGuaranteedRef { body($0) } }

    /// The context itself, counted as any reference: for what happens once in its life.
    var context: ChannelContext { object.takeUnretainedValue() }

    func isSame(as other: ContextReference) -> Bool { object.toOpaque() == other.object.toOpaque() }

    // MARK: Keeping it

    /// Until ``release()``. Any thread.
    func retain() { _ = object.retain() }
    func release() { object.release() }

    /// Until ``letGo()``. All holds share one reference, so that a write with a tag counts none. The loop's thread only.
    @inline(__always)
    func hold() {
        if with({ $0.changeHolds(by: 1) }) == 1 { retain() }
    }

    /// The context may be gone when it returns. The loop's thread, or its late work.
    @inline(__always)
    func letGo() {
        if with({ $0.changeHolds(by: -1) }) == 0 { release() }
    }
}
