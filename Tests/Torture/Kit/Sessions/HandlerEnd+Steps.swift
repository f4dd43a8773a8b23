import SwiftTransport

// The things an end in handlers does while its session lasts.
extension HandlerEnd {
    func step(_ session: Session, _ context: ChannelContext, _ plan: EndPlan) {
        if plan.suddenEnd > 0, session.isAttached, random.oneIn(plan.suddenEnd) {
            return perform(random.flip() ? .reset : .immediate, session, context)
        }
        if plan.pausesOften, random.oneIn(3) { return pauseReading(session, context) }
        switch random.below(24) {
        case 0..<9: write(session, context, plan)
        case 9: writeFile(session, context, plan)
        case 10, 11: context.flush()
        case 12: cancel(session, context)
        case 13: pauseReading(session, context)
        case 14: pauseWriting(context)
        case 15: changeWaterMark(context)
        case 16: context.eventLoop.execute { self.act() }
        case 17: look(session, context)
        case 18: context.fireUserEvent(0)
        case 19: context.channel.flush()
        case 20: forward(session, context)
        case 21: writeMessage(session, context, plan)
        case 22: dropPromise(session)
        default: writeUnreadableFile(session, context)
        }
    }

    // MARK: Writing

    private func write(_ session: Session, _ context: ChannelContext, _ plan: EndPlan) {
        let stream = session.outgoing(side)
        let form = random.below(9)
        let isTold = form > 2
        let isRemovable = isTold && profile.mayLoseWrites
        let count = max(
            random.logarithmic(1, plan.largest), stream.hasLanes || isRemovable ? Stream.markLength : 1)
        let (index, phase) = stream.issue(count, isTold: isTold, isRemovable: isRemovable)
        let range = index..<index + 1
        if isTold { session.promised() }
        session.note(side, isTold ? "writes, told" : "writes", index, count)
        let channel = context.channel
        let mayWrite = channel.isActive && !isOutputShut
        switch form {
        case 0: context.write(Pattern.bytes(phase, count).bytes)
        case 1: context.writeAndFlush(Piece.buffer(phase, count, &random))
        // Without limits it can fail only with the channel.
        case 2 where !profile.mayLoseWrites:
            context.write(Piece.buffer(phase, count, &random), promise: .closeOnFailure(channel))
        case 2: context.write(Piece.buffer(phase, count, &random))
        case 3, 4:
            remember(index, count, context.write(Piece.buffer(phase, count, &random), tag: Tag(range).bits))
        case 5:
            let promise = WritePromise.handler(context, tag: Tag(range).bits, progress: true)
            remember(index, count, context.write(Piece.buffer(phase, count, &random), promise: promise))
        case 6: channel.write(Piece.buffer(phase, count, &random), promise: .callback(completion(range)))
        case 7: channel.writeAndFlush(Piece.buffer(phase, count, &random), promise: .callback(completion(range)))
        default:
            remember(
                index, count,
                context.write(Piece.buffer(phase, count, &random), promise: .callback(completion(range))))
        }
        if mayWrite, channel.isActive, !profile.hasScrambler { stream.accepted(range) }
        checkLimit(session, channel)
    }

    /// A single write may always go beyond the limit, but never many.
    func checkLimit(_ session: Session, _ channel: Channel) {
        guard profile.isTight else { return }
        // A change of the marks may have raised it: it is never below the high one.
        let limit = channel.waterMark.hardLimit.bytes
        // Of what is held back four are let go as one; who connects begins with a greeting.
        let one = max(session.outgoing(side).largest, Hello.length)
        let largest = profile.hasScrambler ? 4 * max(one, 1 << 16) : one
        // What of a write has gone without a copy counts anew when the rest has gone.
        let anew = profile.isZeroCopy ? largest : 0
        let most = max(limit, largest + WaterMark.entryOverhead.bytes) + anew
        // Without what is still on its way from other threads: it is refused when it comes.
        let queued = Books.queuedBytes(of: channel)
        if queued > most { session.fault("beyond the hard limit", "\(queued) of \(limit)") }
    }

    private func completion(_ range: Range<Int>) -> @Sendable (WriteResult) -> Void {
        let census = Census.Member(.promise)
        return { result in
            withExtendedLifetime(census) {}
            self.ended(range, result)
            self.act()
        }
    }

    private func writeFile(_ session: Session, _ context: ChannelContext, _ plan: EndPlan) {
        // What handlers hold back would be overtaken.
        guard !profile.hasScrambler else { return }
        let stream = session.outgoing(side)
        let count = max(random.logarithmic(1, plan.largest), Stream.markLength)
        let (index, phase) = stream.issue(count, isTold: true, isRemovable: profile.mayLoseWrites)
        session.promised()
        session.note(side, "writes a file", index, count)
        let mayWrite = context.channel.isActive && !isOutputShut
        let promise = WritePromise.handler(context, tag: Tag(index..<index + 1).bits, progress: random.flip())
        guard let file = Piece.file(phase, count) else { return promise.complete(TransportError(.system)) }
        remember(index, count, context.write(file, promise: promise))
        if mayWrite, context.channel.isActive { stream.accepted(index..<index + 1) }
    }

    /// A message that a ``Scrambler`` turns into bytes, and nobody else.
    private func writeMessage(_ session: Session, _ context: ChannelContext, _ plan: EndPlan) {
        let count = max(random.logarithmic(1, plan.largest), Stream.markLength)
        let (index, phase) = session.outgoing(side).issue(count, isTold: true, isRemovable: true)
        session.promised()
        session.note(side, "writes a message", index, count)
        let letter = Letter(buffer: Piece.buffer(phase, count, &random))
        context.write(message: letter, promise: .callback(completion(index..<index + 1)))
    }

    /// A promise that nobody keeps is broken, and its owner told.
    private func dropPromise(_ session: Session) {
        let index = session.outgoing(side).issue(Stream.markLength, isTold: true, isRemovable: true).index
        session.promised()
        session.note(side, "drops a promise", index)
        _ = WritePromise.callback(completion(index..<index + 1))
        if session.outgoing(side).failure(of: index) != .promiseDropped {
            session.fault("dropped promise", "#\(index) was not told")
        }
    }

    /// A file that is shorter than its region.
    private func writeUnreadableFile(_ session: Session, _ context: ChannelContext) {
        guard !profile.hasScrambler, random.oneIn(4) else { return }
        let readable = random.flip() ? 0 : random.between(Stream.markLength, 1000)
        let count = readable + random.between(Stream.markLength, 1000)
        let stream = session.outgoing(side)
        let isTold = random.flip()
        let (index, phase) = stream.issue(count, isTold: isTold, isRemovable: isTold)
        session.excuse(side, .unreadable)
        session.note(side, "writes an unreadable file", index, readable)
        if isTold { session.promised() }
        let promise = isTold ? WritePromise.callback(completion(index..<index + 1)) : .none
        guard let file = Piece.file(phase, count, shrinkingTo: readable) else {
            return promise.complete(TransportError(.system))
        }
        context.write(file, promise: promise)
    }

    func echo(_ session: Session, _ context: ChannelContext, _ bytes: ReadBytes, _ segments: [Stream.Segment]) {
        let isTold = !profile.mayLoseWrites && random.oneIn(4)
        let range = session.outgoing(side).issue(segments, isTold: isTold)
        session.note(side, "echoes", range.lowerBound, bytes.count)
        let mayWrite = context.channel.isActive
        if isTold {
            session.promised()
            context.write(bytes, tag: Tag(range).bits)
        } else if random.flip() {
            context.write(bytes)
        } else {
            context.write(Buffer(bytes))
        }
        if mayWrite, context.channel.isActive, !profile.hasScrambler { session.outgoing(side).accepted(range) }
    }

    private func remember(_ index: Int, _ count: Int, _ handle: WriteHandle) {
        guard count >= Stream.markLength else { return }
        handles.append((index, handle))
        if handles.count > 6 { handles.removeFirst() }
    }

    private func cancel(_ session: Session, _ context: ChannelContext) {
        guard !handles.isEmpty else { return }
        let (index, handle) = handles[random.below(handles.count)]
        let stream = session.outgoing(side)
        stream.setRemovable(index, true)
        let isCancelled = context.channel.cancel(handle)
        session.note(side, isCancelled ? "cancelled" : "too late to cancel", index)
        if isCancelled {
            if stream.failure(of: index) != .cancelled { session.fault("cancelled, and not told so", "#\(index)") }
        } else if stream.failure(of: index) == nil {
            stream.setRemovable(index, profile.mayLoseWrites)
        }
    }

    // MARK: Switches

    private func pauseReading(_ session: Session, _ context: ChannelContext) {
        let channel = context.channel
        // 0 is the library's own switch, the others are ours.
        let flag = random.below(4)
        let turn: @Sendable (Bool) -> Void = {
            if flag == 0 { channel.setAutomaticReading($0) } else { channel.setReading($0, flag: flag) }
        }
        session.note(side, "reading off", flag)
        turn(false)
        if random.oneIn(4) { return turn(true) }
        let side = side
        context.eventLoop.schedule(after: .microseconds(random.logarithmic(1, 5000))) {
            session.note(side, "reading on", flag)
            turn(true)
        }
    }

    private func pauseWriting(_ context: ChannelContext) {
        let channel = context.channel
        let flag = random.between(1, 31)
        channel.setWritable(false, flag: flag)
        context.eventLoop.schedule(after: .microseconds(random.logarithmic(1, 2000))) {
            channel.setWritable(true, flag: flag)
        }
    }

    private func changeWaterMark(_ context: ChannelContext) {
        let low = random.logarithmic(1, 1 << 15)
        let limit = context.channel.waterMark.hardLimit
        context.channel.setWaterMark(WaterMark(low: .bytes(low), high: .bytes(2 * low), hardLimit: limit))
    }

    private func look(_ session: Session, _ context: ChannelContext) {
        let channel = context.channel
        if channel.pendingBytes < 0 { session.fault("levels", "\(channel.pendingBytes) bytes pending") }
        // With writers on other threads the two would be asked at different times.
        let isAlone = !hasLanes && Books.queuedBytes(of: channel) == channel.pendingBytes
        if isAlone, channel.isWritable, channel.bytesBeforeUnwritable <= 0 {
            session.fault("levels", "writable, and no byte to go")
        }
        let statistics = context.eventLoop.currentStatistics
        checkBooks(context)
        if statistics.receiveMemory > session.epoch.receiveMemoryAtMost {
            session.fault("beyond the receive budget", "\(statistics.receiveMemory)")
        }
        if statistics.queuedBytes < 0 { session.fault("levels", "\(statistics.queuedBytes) bytes queued on the loop") }
    }
}
