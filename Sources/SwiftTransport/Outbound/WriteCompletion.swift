/// How a write ended: `nil` means that the kernel has accepted every byte of it. That is not yet the peer's word.
public typealias WriteResult = TransportError?

/// Who is told how a write ended, in two words and without an allocation where the caller needs none.
///
/// Plain memory, so that a queued write counts no reference: whoever makes one takes a reference for it, and ``complete(_:)``,
/// which is called exactly once, gives it up.
enum WriteCompletion: BitwiseCopyable {
    /// Nobody.
    case none
    /// The handler of the context that wrote: ``ChannelHandler/writeCompleted(_:tag:result:)``.
    case handler(ContextReference, tag: UInt64, wantsProgress: Bool)
    /// The same, for a write on the loop: the context is held and not retained.
    case writer(ContextReference, tag: UInt64)
    /// A closure in a box.
    case closure(Unmanaged<ClosureBox>, wantsProgress: Bool)
    /// A task that awaits.
    case continuation(UnsafeContinuation<WriteResult, Never>)
    /// The channel, which closes when the write failed (P4).
    case closeOnFailure(ChannelReference)
    /// Several of these.
    case several(Unmanaged<List>)

    static func handler(_ context: ChannelContext, tag: UInt64, progress: Bool = false) -> WriteCompletion {
        let reference = ContextReference(context)
        reference.retain()
        return .handler(reference, tag: tag, wantsProgress: progress)
    }

    /// The loop's thread only.
    @inline(__always)
    static func writer(_ context: ChannelContext, tag: UInt64) -> WriteCompletion {
        let reference = ContextReference(context)
        reference.hold()
        return .writer(reference, tag: tag)
    }

    static func closure(
        _ body: @escaping @Sendable (WriteResult) -> Void, progress: (@Sendable (WriteProgress) -> Void)? = nil
    ) -> WriteCompletion {
        .closure(.passRetained(ClosureBox(body, progress)), wantsProgress: progress != nil)
    }

    static func closeOnFailure(_ channel: Channel) -> WriteCompletion {
        let reference = ChannelReference(channel)
        _ = reference.retain()
        return .closeOnFailure(reference)
    }

    /// Nobody waits.
    @inline(__always)
    var isNone: Bool { if case .none = self { true } else { false } }

    var wantsProgress: Bool {
        switch self {
        case .handler(_, tag: _, let wantsProgress), .closure(_, let wantsProgress): wantsProgress
        case .none, .writer, .continuation, .closeOnFailure, .several: false
        }
    }

    /// Whether this is the same promise, wherever it has been.
    func isSame(as other: WriteCompletion) -> Bool {
        switch (self, other) {
        case (.handler(let mine, let tag, _), .handler(let others, let otherTag, _)),
            (.writer(let mine, let tag), .writer(let others, let otherTag)):
            mine.isSame(as: others) && tag == otherTag
        case (.closure(let mine, _), .closure(let others, _)): mine.toOpaque() == others.toOpaque()
        case (.continuation(let mine), .continuation(let others)):
            unsafeBitCast(mine, to: UInt.self) == unsafeBitCast(others, to: UInt.self)
        case (.closeOnFailure(let mine), .closeOnFailure(let others)): mine.isSame(as: others)
        case (.several(let mine), .several(let others)): mine.toOpaque() == others.toOpaque()
        default: false
        }
    }

    /// Tells whoever is to be told. To be called exactly once, after all state has changed: what is called may write,
    /// flush or close. A handler is told on its own loop, wherever the write went.
    @inline(__always)
    func complete(_ result: WriteResult) {
        if !isNone { tell(result) }
    }

    @inline(never)
    private func tell(_ result: WriteResult) {
        switch self {
        case .none: break
        case .handler(let context, tag: _, wantsProgress: _), .writer(let context, tag: _):
            // A promise may have been handed to a channel of another loop.
            guard isOnLoop(of: context) else { return post(LateCompletion(self, result), for: context) }
            completeHere(result)
        case .closure(let box, wantsProgress: _): box.takeRetainedValue().body(result)
        case .continuation(let continuation): continuation.resume(returning: result)
        case .closeOnFailure(let channel):
            if result != nil { channel.endpoint.close(.immediate) }
            channel.release()
        case .several(let list): list.takeRetainedValue().visit { $0.complete(result) }
        }
    }

    // MARK: Handlers

    @inline(__always)
    private func isOnLoop(of context: ContextReference) -> Bool { context.with { $0.channel.isOnLoop } }

    private func post(_ work: LoopWork, for context: ContextReference) { context.context.eventLoop.post(work) }

    /// The loop on which it has to be told; `nil`: anywhere.
    fileprivate var loop: EventLoop? {
        switch self {
        case .handler(let context, tag: _, wantsProgress: _), .writer(let context, tag: _): context.context.eventLoop
        case .none, .closure, .continuation, .closeOnFailure, .several: nil
        }
    }

    /// As ``complete(_:)``, on the loop of the handler, or where the late work of that loop is done.
    fileprivate func completeHere(_ result: WriteResult) {
        switch self {
        case .handler(let context, let tag, wantsProgress: _):
            context.with { $0.handler.writeCompleted($0, tag: tag, result: result) }
            context.release()
        case .writer(let context, let tag):
            context.with { $0.handler.writeCompleted($0, tag: tag, result: result) }
            context.letGo()
        case .none, .closure, .continuation, .closeOnFailure, .several: complete(result)
        }
    }

    // MARK: Several

    /// One that tells this one and then `other`. Lists are spliced and never nested, in whatever direction they grow: a
    /// chain of very many would overflow the stack.
    func joined(with other: WriteCompletion) -> WriteCompletion {
        guard !other.isNone else { return self }
        guard !isNone else { return other }
        let list: List
        switch (takeList(), other.takeList()) {
        case (nil, nil):
            list = List(self)
            list.append(other)
        case (let mine?, nil):
            list = mine
            list.append(other)
        case (nil, let others?):
            list = others
            list.prepend(self)
        case (let mine?, let others?):
            list = mine.count >= others.count ? mine : others
            if list === mine { others.visit(mine.append) } else { mine.visitBackwards(others.prepend) }
        }
        return .several(.passRetained(list))
    }

    private func takeList() -> List? {
        if case .several(let list) = self { list.takeRetainedValue() } else { nil }
    }

    /// Completions in their order, which grow at both ends.
    final class List {
        private var before: [WriteCompletion] = []
        private var behind: [WriteCompletion]
        init(_ first: WriteCompletion) { behind = [first] }

        var count: Int { before.count + behind.count }
        func append(_ completion: WriteCompletion) { behind.append(completion) }
        func prepend(_ completion: WriteCompletion) { before.append(completion) }

        func visit(_ body: (WriteCompletion) -> Void) {
            for completion in before.reversed() { body(completion) }
            for completion in behind { body(completion) }
        }
        func visitBackwards(_ body: (WriteCompletion) -> Void) {
            for completion in behind.reversed() { body(completion) }
            for completion in before { body(completion) }
        }
    }

    // MARK: Progress

    /// Tells how far a write has come. Only for completions that want it.
    @inline(never)
    func report(_ progress: WriteProgress) {
        switch self {
        case .handler(let context, tag: _, wantsProgress: _):
            guard isOnLoop(of: context) else { return post(LateProgress(self, progress), for: context) }
            reportHere(progress)
        case .closure(let box, wantsProgress: _): box.takeUnretainedValue().progress?(progress)
        case .none, .writer, .continuation, .closeOnFailure, .several: break
        }
    }

    /// On the handler's loop. The context lives: its completion is still to come, and behind this.
    fileprivate func reportHere(_ progress: WriteProgress) {
        guard case .handler(let context, let tag, wantsProgress: _) = self else { return }
        context.with { $0.handler.writeProgressed($0, tag: tag, progress: progress) }
    }

    final class ClosureBox {
        let body: @Sendable (WriteResult) -> Void
        let progress: (@Sendable (WriteProgress) -> Void)?
        init(_ body: @escaping @Sendable (WriteResult) -> Void, _ progress: (@Sendable (WriteProgress) -> Void)?) {
            self.body = body
            self.progress = progress
        }
    }
}

/// Tells it on the loop, later. A handler whose loop has ended is told where that loop's late work is done, never by two
/// threads at once.
final class LateCompletion: LoopWork, @unchecked Sendable {
    private let completion: WriteCompletion
    private let result: WriteResult

    init(_ completion: WriteCompletion, _ result: WriteResult) {
        self.completion = completion
        self.result = result
    }

    override func run(on loop: EventLoop) { completion.completeHere(result) }

    override func reject(_ why: TransportError.Code) {
        guard let loop = completion.loop else { return completion.complete(result) }
        loop.executor.late.run(on: loop.executor) { self.completion.completeHere(self.result) }
    }
}

/// The same for progress.
private final class LateProgress: LoopWork, @unchecked Sendable {
    private let completion: WriteCompletion
    private let progress: WriteProgress

    init(_ completion: WriteCompletion, _ progress: WriteProgress) {
        self.completion = completion
        self.progress = progress
    }

    override func run(on loop: EventLoop) { completion.reportHere(progress) }

    override func reject(_ why: TransportError.Code) {
        guard let loop = completion.loop else { return }
        loop.executor.late.run(on: loop.executor) { self.completion.reportHere(self.progress) }
    }
}
