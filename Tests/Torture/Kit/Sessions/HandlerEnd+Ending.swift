import SwiftTransport

// How an end in handlers ends its session.
extension HandlerEnd {
    /// A graceful end that must not be cut off.
    static let patience = CloseMode.drain(within: .seconds(300))

    /// Everything planned is done.
    func finish(_ session: Session, _ context: ChannelContext, _ plan: EndPlan) {
        guard !hasEnded, context.channel.isActive else { return }
        guard plan.endsInTheMiddle || !hasLanes else { return }
        if isLeaving {
            perform(.drain, session, context)
        } else if plan.isEnder {
            perform(plan.ending, session, context)
        } else if hasInputEnded {
            perform(.drain, session, context)
        }
    }

    /// From within an event that somebody else handles: off and on with reading, away with who asked, and the end.
    func endSuddenly(behind step: () -> Void) {
        guard let context, let session, let plan, plan.suddenEnd > 0, session.isAttached, !hasEnded,
            context.channel.isActive
        else { return }
        context.channel.setAutomaticReading(false)
        context.channel.setAutomaticReading(true)
        step()
        perform(random.flip() ? .immediate : .reset, session, context)
    }

    func perform(_ ending: EndPlan.Ending, _ session: Session, _ context: ChannelContext) {
        hasEnded = true
        let channel = context.channel
        session.note(side, "ends", EndPlan.Ending.allCases.firstIndex(of: ending) ?? -1, channel.pendingBytes)
        if ending != .reset { session.finishes() }
        switch ending {
        case .shutdownOutput:
            isOutputShut = true
            // What a handler holds back is let go.
            channel.flush()
            channel.shutdownOutput()
            return
        case .immediate: session.excuse(side, .immediate)
        case .reset, .drainThenReset: session.excuse(side, .reset)
        case .cutOff, .drainThenImmediate: session.excuse(side, .cutOff)
        case .drain, .offLoop: break
        }
        session.leave(side)
        let wait = Duration.microseconds(random.logarithmic(1, 20_000))
        switch ending {
        case .shutdownOutput: break
        case .drain: context.close(Self.patience)
        case .immediate: context.close(.immediate)
        case .reset: channel.close(.reset)
        case .cutOff:
            channel.close(.drain(within: wait))
            // Memory that the kernel still reads is waited for.
            if session.epoch.run.hasTrueTime, !profile.isZeroCopy { latest = Clock.microseconds + 30_000 }
        case .drainThenImmediate, .drainThenReset:
            channel.close(Self.patience)
            let mode: CloseMode = ending == .drainThenReset ? .reset : .immediate
            context.eventLoop.schedule(after: wait) { channel.close(mode) }
        case .offLoop: Task.detached { channel.close(Self.patience) }
        }
    }
}
