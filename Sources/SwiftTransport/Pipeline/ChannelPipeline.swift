/// The handlers of a channel, in order. A view: as cheap as the channel itself. The channel's loop only: elsewhere each of
/// its methods stops the program.
///
/// A handler runs on its channel's loop without a lock, so nobody else may have it: whoever adds one gives it away, which the
/// compiler sees to (`sending`), and a context is lent for the length of a call. A handler that shares its own state with
/// another one adds that through its context: ``ChannelContext/add(_:_:)``.
public struct ChannelPipeline {
    let channel: Channel

    /// Adds a handler behind the last one. Returns false, and adds nothing, when the channel is closed.
    @discardableResult
    public func addLast(_ handler: sending any ChannelHandler) -> Bool {
        channel.eventLoop.requireOnLoop()
        return insert(handler, behind: channel.own.last)
    }

    /// Adds a handler before the first one. Returns false, and adds nothing, when the channel is closed.
    @discardableResult
    public func addFirst(_ handler: sending any ChannelHandler) -> Bool {
        channel.eventLoop.requireOnLoop()
        return insert(handler, behind: .end)
    }

    /// Adds a handler behind the place of `context`. Returns false, and adds nothing, when that has left this pipeline.
    @discardableResult
    public func add(_ handler: sending any ChannelHandler, behind context: ChannelContext) -> Bool {
        channel.eventLoop.requireOnLoop()
        return context.channel === channel && add(handler, .behind, of: context)
    }

    /// Takes the handler at `context` out: no event reaches it any more, only the completions of its own writes. It may be
    /// called from the handler itself, which may go on passing the present event on. What it writes in later turns starts
    /// behind the last handler, as ``Channel/write(_:promise:)-(Buffer,_)`` does.
    public func remove(_ context: ChannelContext) {
        channel.eventLoop.requireOnLoop()
        guard context.channel === channel, context.own.place == .taken else { return }
        unlink(context)
    }

    /// Calls `body` with the context of the first handler of type `H`, which is lent for the length of the call; `nil` when
    /// there is none.
    ///
    ///     channel.pipeline.withContext(of: Session.self) { $0.fireUserEvent(Expired()) }
    @discardableResult
    public func withContext<H: ChannelHandler, Answer: Sendable, Failure: Error>(
        of type: H.Type, _ body: @Sendable (ChannelContext) throws(Failure) -> Answer
    ) throws(Failure) -> Answer? {
        channel.eventLoop.requireOnLoop()
        guard let context = context(of: type) else { return nil }
        return try body(context)
    }

    func context<H: ChannelHandler>(of type: H.Type) -> ChannelContext? {
        var candidate = channel.own.first
        while let context = candidate.context {
            if context.handler is H { return context }
            candidate = context.own.next
        }
        return nil
    }

    /// Adds what a bootstrap made, in order.
    func append(_ handlers: [any ChannelHandler]) {
        for handler in handlers { insert(handler, behind: channel.own.last) }
    }

    func add(_ handler: any ChannelHandler, _ place: HandlerPlace, of context: ChannelContext) -> Bool {
        guard context.own.place == .taken else { return false }
        switch place {
        case .first: return insert(handler, behind: .end)
        case .before: return insert(handler, behind: context.own.previous)
        case .behind: return insert(handler, behind: PipelineLink(ContextReference(context)))
        case .last: return insert(handler, behind: channel.own.last)
        }
    }

    @discardableResult
    private func insert(_ handler: any ChannelHandler, behind place: PipelineLink) -> Bool {
        guard channel.own.lifecycle.phase != .closed else { return false }
        let context = ChannelContext(handler, channel: channel)
        let reference = ContextReference(context)
        reference.hold()
        let link = PipelineLink(reference)
        context.own.previous = place
        if let previous = place.context {
            context.own.next = previous.own.next
            previous.own.next = link
        } else {
            context.own.next = channel.own.first
            channel.own.first = link
        }
        if let next = context.own.next.context { next.own.previous = link } else { channel.own.last = link }
        context.handler.handlerAdded(context)
        return true
    }

    /// The links of the removed context stay as they are, so that what it is about to pass on still finds its way, over
    /// neighbours too that leave after it; the reference is given up only when the turn is over, because the context may be
    /// in the middle of a call.
    private func unlink(_ context: ChannelContext) {
        context.own.place = .left
        context.own.interests = []
        if let previous = context.own.previous.context {
            previous.own.next = context.own.next
        } else {
            channel.own.first = context.own.next
        }
        if let next = context.own.next.context {
            next.own.previous = context.own.previous
        } else {
            channel.own.last = context.own.previous
        }
        context.cancelTimers()
        context.endIdleLimits()
        context.handler.handlerRemoved(context)
        channel.eventLoop.releaseAfterTurn(context)
    }

    /// The channel is closed: handlers leave in order, last first, and the references between them and the channel end.
    func removeAll() {
        while let last = channel.own.last.context { unlink(last) }
    }
}

/// Where a handler adds another one: see ``ChannelContext/add(_:_:)``.
public enum HandlerPlace: Sendable {
    /// At the network's end of the pipeline.
    case first
    /// Next to the handler, towards the network.
    case before
    /// Next to the handler, towards the application.
    case behind
    /// At the application's end of the pipeline.
    case last
}
