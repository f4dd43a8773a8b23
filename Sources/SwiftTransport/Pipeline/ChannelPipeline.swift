/// The handlers of a channel, in order. A view: as cheap as the channel itself. The channel's loop only.
public struct ChannelPipeline {
    let channel: Channel

    /// Adds a handler behind the last one.
    public func addLast(_ handler: any ChannelHandler) {
        channel.eventLoop.preconditionOnLoop()
        insert(ChannelContext(handler, channel: channel), behind: channel.lastContext)
    }

    /// Adds a handler before the first one.
    public func addFirst(_ handler: any ChannelHandler) {
        channel.eventLoop.preconditionOnLoop()
        insert(ChannelContext(handler, channel: channel), behind: nil)
    }

    /// Adds a handler behind the place of `context`.
    public func add(_ handler: any ChannelHandler, behind context: ChannelContext) {
        channel.eventLoop.preconditionOnLoop()
        guard context.channel === channel, context.place == .taken else { return }
        insert(ChannelContext(handler, channel: channel), behind: .passUnretained(context))
    }

    /// Takes the handler at `context` out: no event reaches it any more, only the completions of its own writes. It may be
    /// called from the handler itself, which may go on passing the present event on. What it writes in later turns starts
    /// behind the last handler, as ``Channel/write(_:completion:)`` does.
    public func remove(_ context: ChannelContext) {
        channel.eventLoop.preconditionOnLoop()
        guard context.channel === channel, context.place == .taken else { return }
        unlink(context)
    }

    /// The context of the first handler of type `H`.
    public func context<H: ChannelHandler>(of type: H.Type) -> ChannelContext? {
        channel.eventLoop.preconditionOnLoop()
        var candidate = channel.firstContext
        while let context = candidate?.takeUnretainedValue() {
            if context.handler is H { return context }
            candidate = context.next
        }
        return nil
    }

    private func insert(_ context: ChannelContext, behind place: Unmanaged<ChannelContext>?) {
        guard channel.state != .closed else { return }
        let link = context.hold()
        context.previous = place
        if let place {
            context.next = place._withUnsafeGuaranteedRef { $0.next }
            place._withUnsafeGuaranteedRef { $0.next = link }
        } else {
            context.next = channel.firstContext
            channel.firstContext = link
        }
        if let next = context.next {
            next._withUnsafeGuaranteedRef { $0.previous = link }
        } else {
            channel.lastContext = link
        }
        context.handler.handlerAdded(context)
    }

    /// The links of the removed context stay as they are, so that what it is about to pass on still finds its way, over
    /// neighbours too that leave after it; the reference is given up only when the turn is over, because the context may be
    /// in the middle of a call.
    private func unlink(_ context: ChannelContext) {
        context.place = .left
        context.interests = []
        if let previous = context.previous {
            previous._withUnsafeGuaranteedRef { $0.next = context.next }
        } else {
            channel.firstContext = context.next
        }
        if let next = context.next {
            next._withUnsafeGuaranteedRef { $0.previous = context.previous }
        } else {
            channel.lastContext = context.previous
        }
        context.handler.handlerRemoved(context)
        channel.eventLoop.releaseAfterTurn(context)
    }

    /// The channel is closed: handlers leave in order, last first, and the references between them and the channel end.
    func removeAll() {
        while let last = channel.lastContext { unlink(last.takeUnretainedValue()) }
    }
}
