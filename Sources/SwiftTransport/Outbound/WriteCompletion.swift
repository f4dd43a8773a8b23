/// How a write ended: `nil` means that the kernel has accepted every byte of it. That is not yet the peer's word.
public typealias WriteResult = TransportError?

/// Who is told how a write ended, in two words and without an allocation where the caller needs none.
struct WriteCompletion {
    enum Kind: UInt8 {
        /// Nobody.
        case none
        /// The handler of the context that wrote: ``ChannelHandler/writeCompleted(_:tag:result:)``.
        case handler
        /// The same, for a write on the loop: the context is held and not retained.
        case writer
        /// A closure in a box.
        case closure
        /// A task that awaits.
        case continuation
        /// The channel, which closes when the write failed (P4).
        case closeOnFailure
        /// Several of these.
        case several
    }

    let kind: Kind
    var wantsProgress = false
    let word: UInt
    let tag: UInt64

    static let none = WriteCompletion(kind: .none, word: 0, tag: 0)

    static func handler(_ context: ChannelContext, tag: UInt64, progress: Bool = false) -> WriteCompletion {
        let reference = ContextReference(context)
        reference.retain()
        return WriteCompletion(kind: .handler, wantsProgress: progress, word: reference.word, tag: tag)
    }

    /// The loop's thread only.
    @inline(__always)
    static func writer(_ context: ChannelContext, tag: UInt64) -> WriteCompletion {
        let reference = ContextReference(context)
        reference.hold()
        return WriteCompletion(kind: .writer, word: reference.word, tag: tag)
    }

    static func closure(
        _ body: @escaping @Sendable (WriteResult) -> Void, progress: (@Sendable (WriteProgress) -> Void)? = nil
    ) -> WriteCompletion {
        let box = Unmanaged.passRetained(ClosureBox(body, progress))
        return WriteCompletion(
            kind: .closure, wantsProgress: progress != nil, word: UInt(bitPattern: box.toOpaque()), tag: 0)
    }

    static func continuation(_ continuation: UnsafeContinuation<WriteResult, Never>) -> WriteCompletion {
        WriteCompletion(kind: .continuation, word: unsafeBitCast(continuation, to: UInt.self), tag: 0)
    }

    static func closeOnFailure(_ channel: Channel) -> WriteCompletion {
        WriteCompletion(
            kind: .closeOnFailure, word: UInt(bitPattern: Unmanaged.passRetained(channel).toOpaque()), tag: 0)
    }

    /// Tells whoever is to be told. To be called exactly once, after all state has changed: what is called may write,
    /// flush or close. A handler is told on its own loop, wherever the write went.
    @inline(__always)
    func complete(_ result: WriteResult) {
        if kind != .none { tell(result) }
    }

    @inline(never)
    private func tell(_ result: WriteResult) {
        if kind == .continuation {
            unsafeBitCast(word, to: UnsafeContinuation<WriteResult, Never>.self).resume(returning: result)
            return
        }
        if let writer {
            // A promise may have been handed to a channel of another loop.
            return isOnLoop(of: writer) ? tell(writer, result) : post(LateCompletion(self, result), for: writer)
        }
        guard let pointer = UnsafeRawPointer(bitPattern: word) else { return }
        switch kind {
        case .none, .continuation, .handler, .writer: break
        case .closure:
            Unmanaged<ClosureBox>.fromOpaque(pointer).takeRetainedValue().body(result)
        case .closeOnFailure:
            let channel = Unmanaged<Channel>.fromOpaque(pointer).takeRetainedValue()
            if result != nil { channel.close(.immediate) }
        case .several:
            let list = Unmanaged<List>.fromOpaque(pointer).takeRetainedValue()
            list.visit { $0.complete(result) }
        }
    }

    // MARK: Handlers

    /// The context of the handler that is to be told, if it is one.
    @inline(__always)
    private var writer: ContextReference? {
        kind == .handler || kind == .writer ? ContextReference(word: word) : nil
    }

    @inline(__always)
    private func isOnLoop(of writer: ContextReference) -> Bool { writer.with { $0.channel.isOnLoop } }

    private func post(_ work: LoopWork, for writer: ContextReference) { writer.context.eventLoop.post(work) }

    /// On the handler's loop; when that has ended, where its late work is done.
    private func tell(_ writer: ContextReference, _ result: WriteResult) {
        writer.with { $0.handler.writeCompleted($0, tag: tag, result: result) }
        if kind == .writer { writer.letGo() } else { writer.release() }
    }

    /// The loop on which it has to be told; `nil`: anywhere.
    fileprivate var loop: EventLoop? { writer?.context.eventLoop }

    /// As ``complete(_:)``, on the loop of the handler, or where the late work of that loop is done.
    fileprivate func completeHere(_ result: WriteResult) {
        if let writer { tell(writer, result) } else { complete(result) }
    }

    // MARK: Several

    /// One that tells this one and then `other`. Lists are spliced and never nested, in whatever direction they grow: a
    /// chain of very many would overflow the stack.
    func joined(with other: WriteCompletion) -> WriteCompletion {
        guard other.kind != .none else { return self }
        guard kind != .none else { return other }
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
        return WriteCompletion(kind: .several, word: UInt(bitPattern: Unmanaged.passRetained(list).toOpaque()), tag: 0)
    }

    private func takeList() -> List? {
        guard kind == .several, let pointer = UnsafeRawPointer(bitPattern: word) else { return nil }
        return Unmanaged<List>.fromOpaque(pointer).takeRetainedValue()
    }

    /// Completions in their order, which grow at both ends.
    private final class List {
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
        if let writer {
            return isOnLoop(of: writer) ? reportHere(progress) : post(LateProgress(self, progress), for: writer)
        }
        guard kind == .closure, let pointer = UnsafeRawPointer(bitPattern: word) else { return }
        Unmanaged<ClosureBox>.fromOpaque(pointer).takeUnretainedValue().progress?(progress)
    }

    /// On the handler's loop. The context lives: its completion is still to come, and behind this.
    fileprivate func reportHere(_ progress: WriteProgress) {
        writer?.with { $0.handler.writeProgressed($0, tag: tag, progress: progress) }
    }

    private final class ClosureBox {
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
