import Glibc
import SwiftTransport
import Synchronization

/// Pieces of pattern in the forms in which they can be written.
enum Piece {
    /// Memory of its own, mostly: what is given back too early is then overwritten and seen.
    static func buffer(_ phase: Int, _ count: Int, _ random: inout Random) -> Buffer {
        switch random.below(4) {
        case 0: Pattern.shared[phase..<phase + count]
        case 1:
            Buffer(capacity: count) { $0.append(Pattern.shared[phase..<phase + count]) }
        default: Buffer(copying: Pattern.bytes(phase, count))
        }
    }

    static func file(_ phase: Int, _ count: Int) -> FileRegion? {
        try? FileRegion(descriptor: Pattern.file, offset: phase, count: count, closing: false)
    }

    /// A file of its own, which becomes too short as soon as the region is made.
    static func file(_ phase: Int, _ count: Int, shrinkingTo readable: Int) -> FileRegion? {
        let descriptor = Pattern.temporaryFile()
        guard write(descriptor, Pattern.table + phase, count) == count,
            let region = try? FileRegion(descriptor: descriptor, offset: 0, count: count)
        else {
            close(descriptor)
            return nil
        }
        ftruncate(descriptor, readable)
        return region
    }
}

/// A writer beside the handlers: a task that awaits its writes, on the loop or off it, or a thread that does not. Its writes
/// are in order among themselves.
struct Lane: Sendable {
    let session: Session
    let side: Side
    let channel: Channel
    let number: Int
    /// The only writer of its stream, so that its pieces may be of any size.
    var isAlone = false
    /// A graceful end is still possible after a cancelled write that was on its way.
    var mayCancel = true
    var hasScrambler = false
    /// Told when the lane has nothing more to do.
    var ended: @Sendable () -> Void = {}

    /// Starts it on its own.
    func start(_ random: Random) {
        session.workerStarted()
        var random = random
        let census = Census.Member(.work)
        let isOnLoop = random.flip()
        let awaits = random.below(3) > 0
        let body: @Sendable () async -> Void = { [random] in
            await run(random, awaits: awaits)
            ended()
            withExtendedLifetime(census) {}
            session.workerEnded()
        }
        if isOnLoop {
            Task(executorPreference: channel.eventLoop.taskExecutor, operation: body)
        } else {
            Task.detached(operation: body)
        }
    }

    func run(_ start: Random, awaits: Bool) async {
        var random = start
        let steps = random.logarithmic(1, 12)
        for _ in 0..<steps {
            guard channel.isActive else { break }
            if awaits { await send(&random) } else { post(&random) }
            switch random.below(6) {
            case 0: await Task.yield()
            case 1: await Clock.sleep(.microseconds(random.logarithmic(1, 2000)))
            default: break
            }
        }
        channel.flush()
    }

    private func size(_ random: inout Random, removable: Bool) -> Int {
        max(random.logarithmic(1, session.plan[side].largest), isAlone && !removable ? 1 : Stream.markLength)
    }

    // MARK: Awaited

    private func send(_ random: inout Random) async {
        let cancels = mayCancel && random.oneIn(12)
        let isRemovable = cancels || !isAlone || hasScrambler
        let stream = session.outgoing(side)
        let count = size(&random, removable: isRemovable)
        let (index, phase) = stream.issue(count, lane: number, isTold: true, isRemovable: isRemovable)
        session.promised()
        session.note(side, cancels ? "sends, and cancels" : "sends", index, count)
        let form = random.below(8)
        let buffer = Piece.buffer(phase, count, &random)
        var result: WriteResult = nil
        if cancels {
            session.excuse(side, .cancelled)
            let flush = form > 1
            let task = Task { () -> WriteResult in
                do throws(TransportError) { try await channel.send(buffer, flush: flush) } catch { return error }
                return nil
            }
            if random.flip() { await Clock.sleep(.microseconds(random.logarithmic(1, 3000))) }
            task.cancel()
            // What is neither flushed nor taken back would wait for ever.
            if !flush { channel.flush() }
            result = await task.value
        } else {
            do throws(TransportError) {
                if form == 0, let file = Piece.file(phase, count) {
                    try await channel.send(file)
                } else {
                    try await channel.send(buffer)
                }
            } catch {
                result = error
            }
        }
        // What a handler holds back and writes later cannot wait any more.
        if !hasScrambler, result?.code == .outboundQueueFull || result?.code == .loopBudgetExhausted {
            session.fault("[2] an awaited write was refused", "from the \(side): #\(index): \(result!)")
        }
        session.told(side, index..<index + 1, result)
    }

    // MARK: Posted

    private func post(_ random: inout Random) {
        let count = size(&random, removable: true)
        let stream = session.outgoing(side)
        let (index, phase) = stream.issue(count, lane: number, isTold: true, isRemovable: true)
        session.promised()
        session.note(side, "posts", index, count)
        let census = Census.Member(.promise)
        let completion: @Sendable (WriteResult) -> Void = { [session, side, channel] result in
            withExtendedLifetime(census) {}
            // What could not be brought to the loop is refused where it was written.
            let isRefused = result?.code == .outOfMemory
            if !channel.eventLoop.isCurrent, !session.epoch.isShuttingDown, !isRefused {
                session.fault("completion off its loop", "#\(index)")
            }
            session.told(side, index..<index + 1, result)
        }
        switch random.below(6) {
        // What handlers hold back would be overtaken.
        case 0 where !hasScrambler:
            if let file = Piece.file(phase, count) {
                channel.write(file, promise: .callback(completion))
            } else {
                completion(TransportError(.system))
            }
            channel.flush()
        case 1: channel.write(Piece.buffer(phase, count, &random), promise: .callback(completion))
        case 2: channel.write(Piece.buffer(phase, count, &random), promise: .callback(completion))
        default: channel.writeAndFlush(Piece.buffer(phase, count, &random), promise: .callback(completion))
        }
    }
}
