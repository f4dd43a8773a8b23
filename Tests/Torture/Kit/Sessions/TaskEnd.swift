import SwiftTransport

/// An end of a session that is made of tasks: one reads, others write. For `serve` and `open`.
struct TaskEnd: Sendable {
    let session: Session
    let side: Side
    let connection: Connection
    let profile: ChannelProfile
    private var channel: Channel { connection.channel }

    /// A connection that was accepted: its first bytes say whose it is.
    static func serve(_ connection: Connection, _ run: Run, _ profile: ChannelProfile) async {
        var greeting: [UInt8] = []
        var rest = Buffer()
        while greeting.count < Hello.length {
            var inbound = connection.inbound.makeAsyncIterator()
            guard let bytes = try? await inbound.next() else { return }
            let missing = Hello.length - greeting.count
            greeting += [UInt8](bytes[0..<missing])
            rest = bytes[min(missing, bytes.count)..<bytes.count]
        }
        guard let id = Hello.id(greeting), let session = run.session(id) else {
            return await connection.close(.reset)
        }
        session.attach()
        session.note(.server, "attached")
        let end = TaskEnd(session: session, side: .server, connection: connection, profile: profile)
        end.watch()
        if rest.count > 0 { rest.withUnsafeBytes { session.received(.server, $0) } }
        await end.run()
    }

    /// A connection that was just made.
    func greetAndRun() async {
        watch()
        session.note(side, "open")
        do throws(TransportError) {
            try await connection.send(Buffer(Hello.bytes(session.id)))
        } catch {
            session.note(side, "hello failed", Int(error.code.rawValue))
            if !session.explains(error, on: side) { session.fault("error without cause", "hello: \(error)") }
            // Nobody would ever know whose connection it is.
            session.leave(side)
            channel.close(.reset)
        }
        await run()
    }

    private func watch() {
        let channel = channel
        if profile.hasScrambler { session.holdsWrites[side.rawValue].set() }
        session.hold(side, channel)
        Census.watch(channel, .channel)
        let census = Census.Member(.work)
        Task.detached { [session, side] in
            await channel.closed()
            withExtendedLifetime(census) {}
            session.over(side)
        }
    }

    private func run() async {
        session.workerStarted()
        let plan = session.plan[side]
        var random = plan.random
        let laneStart = Random(random.next())
        let readStart = Random(random.next())
        async let writing: Void = write(laneStart, plan)
        async let reading: Void = read(readStart, plan)
        if plan.isEnder {
            if !plan.endsInTheMiddle { await writing }
            await waitForAttachment()
            await end(plan, &random)
        }
        await writing
        session.note(side, "has written")
        await reading
        session.note(side, "has read")
        session.leave(side)
        session.finishes()
        if random.flip() { await connection.close(HandlerEnd.patience) } else { channel.close(HandlerEnd.patience) }
        session.workerEnded()
    }

    /// Before the server knows the session nothing may happen to it; a server that ends it unknown will never know it.
    private func waitForAttachment() async {
        while !session.isAttached, channel.isActive, !session.incoming(side).hasEnded {
            await Clock.sleep(.milliseconds(1))
        }
    }

    private func write(_ start: Random, _ plan: EndPlan) async {
        // The echo is then the only writer.
        if isEcho(plan) { return }
        await waitForAttachment()
        var start = start
        await withTaskGroup { tasks in
            for number in 0...plan.lanes {
                let lane = Lane(
                    session: session, side: side, channel: channel, number: number,
                    isAlone: plan.lanes == 0 && !session.epoch.run.refusesMemory,
                    hasScrambler: profile.hasScrambler)
                let random = Random(start.next())
                tasks.addTask { await lane.run(random, awaits: true) }
            }
        }
    }

    /// Not with a handler that fails writes: an echo has pieces of all sizes, which cannot be missed one by one.
    ///
    /// Nor with a peer that stops reading while it is not read from: both would wait for the other.
    private func isEcho(_ plan: EndPlan) -> Bool {
        plan.isEcho && plan.lanes == 0 && !profile.hasScrambler && !session.epoch.run.refusesMemory
            && !(side == .client && session.listener.channel.hasBackPressure)
    }

    // MARK: Reading

    private func read(_ start: Random, _ plan: EndPlan) async {
        var random = start
        while true {
            if random.oneIn(16) { await pause(&random) }
            do {
                guard let bytes = try await next(&random) else { break }
                try await take(bytes, plan, &random)
            } catch let error as TransportError {
                session.noteError(side, error)
                if error.code != .cancelled, !session.explains(error, on: side) {
                    session.fault("error without cause", "\(error)")
                }
                return
            } catch {
                return
            }
        }
        session.note(side, "end of stream")
        // It may be the end that this side made.
        if session.hasLeft(side) || session.excuses.contains(.shutdown) {
            session.incoming(side).ended(.left)
        } else {
            session.sawEnd(side)
        }
    }

    private func next(_ random: inout Random) async throws -> Buffer? {
        session.note(side, "waits for bytes")
        guard random.oneIn(8) else {
            var inbound = connection.inbound.makeAsyncIterator()
            return try await inbound.next()
        }
        // Gives up and comes again: nothing may be lost by it.
        while true {
            let task = Task {
                var inbound = connection.inbound.makeAsyncIterator()
                return try await inbound.next()
            }
            if random.flip() { await Clock.sleep(.microseconds(random.logarithmic(1, 500))) }
            task.cancel()
            do { return try await task.value } catch let error as TransportError where error.code == .cancelled {
                if !random.oneIn(4) { continue }
                var inbound = connection.inbound.makeAsyncIterator()
                return try await inbound.next()
            }
        }
    }

    private func take(_ bytes: Buffer, _ plan: EndPlan, _ random: inout Random) async throws {
        if session.hasLeft(side) { return }
        guard isEcho(plan), channel.isActive else {
            return bytes.withUnsafeBytes { session.received(side, $0) }
        }
        var segments: [Stream.Segment] = []
        bytes.withUnsafeBytes { session.received(side, $0, &segments) }
        guard segments.reduce(0, { $0 + $1.count }) == bytes.count else { return }
        let range = session.outgoing(side).issue(segments, isTold: true)
        session.promised()
        session.note(side, "echoes", range.lowerBound, bytes.count)
        var result: WriteResult = nil
        do throws(TransportError) { try await connection.send(bytes) } catch { result = error }
        if result?.code == .outboundQueueFull { session.fault("[2] an awaited write was refused", "echo: \(result!)") }
        session.told(side, range, result)
    }

    private func pause(_ random: inout Random) async {
        let togglesReading = random.flip()
        if togglesReading { channel.setAutomaticReading(false) }
        await Clock.sleep(.microseconds(random.logarithmic(1, 5000)))
        if togglesReading { channel.setAutomaticReading(true) }
    }

    // MARK: The end

    private func end(_ plan: EndPlan, _ random: inout Random) async {
        session.note(side, "ends", EndPlan.Ending.allCases.firstIndex(of: plan.ending) ?? -1, channel.pendingBytes)
        if plan.ending != .reset { session.finishes() }
        switch plan.ending {
        case .shutdownOutput:
            channel.shutdownOutput()
            return
        case .immediate: session.excuse(side, .immediate)
        case .reset, .drainThenReset: session.excuse(side, .reset)
        case .cutOff, .drainThenImmediate: session.excuse(side, .cutOff)
        case .drain, .offLoop: break
        }
        session.leave(side)
        let wait = Duration.microseconds(random.logarithmic(1, 20_000))
        switch plan.ending {
        case .shutdownOutput: break
        case .drain, .offLoop: channel.close(HandlerEnd.patience)
        case .immediate: await connection.close(.immediate)
        case .reset: channel.close(.reset)
        case .cutOff: channel.close(.drain(within: wait))
        case .drainThenImmediate, .drainThenReset:
            channel.close(HandlerEnd.patience)
            await Clock.sleep(wait)
            await connection.close(plan.ending == .drainThenReset ? .reset : .immediate)
        }
    }
}
