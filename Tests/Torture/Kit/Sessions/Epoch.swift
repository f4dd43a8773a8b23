import Glibc
import SwiftTransport
import Synchronization

/// The life of one group of loops: its listeners, its share of the sessions, and its end, either when all is quiet or in the
/// middle of everything.
final class Epoch: @unchecked Sendable {
    let run: Run
    private let number: UInt64
    private let limit: Int
    private let concurrent: Int
    private let endsInTheMiddle: Bool
    /// Of the servers, those that sessions are for.
    private let busyServers: Int
    private var random: Random
    private let begunSessions = Atomic<Int>(0)
    /// What it is doing, for whoever wonders why it does not end.
    private let stage = Mutex("begins")
    private let onBegin: (() -> Void)?
    private let shuttingDown = AtomicFlag()
    private var group: EventLoopGroup!
    /// Of those who connect.
    private var clients: EventLoopGroup!
    /// The servers of the library. One of them may come to its end and get a successor at any time.
    private let servers = Mutex([(profile: ListenerProfile, server: ServerChannel)]())
    private(set) var tunnels: [Tunnel] = []

    /// Receive memory that a quiet loop keeps: what the kernel is lent, and some spare.
    private static let quietReceiveMemory: UInt64 = 4 << 20
    /// Listeners that wait for a descriptor have one.
    private static let quietTimers: UInt64 = 32

    /// What a loop may have of it in any case.
    private(set) var receiveMemoryAtMost: UInt64 = 0

    var isShuttingDown: Bool { shuttingDown.value }

    /// - Parameter begun: called when loops and listeners are there.
    init(_ run: Run, number: UInt64, sessions: Int, concurrent: Int, begun: (() -> Void)? = nil) {
        onBegin = begun
        self.run = run
        self.number = number
        self.concurrent = concurrent
        limit = sessions
        var random = Random(run.options.seed, number, 5)
        endsInTheMiddle = number > 0 && random.flip() && run.habits.contains(.endInTheMiddle)
        busyServers = run.setting.isSimulated ? random.between(1, 6) : 6
        self.random = random
    }

    func run() async {
        do {
            try await begin()
        } catch {
            run.report.fault("group", "\(error)")
            return
        }
        onBegin?()
        enter("serves")
        let shutdown = shutdownTime
        await withTaskGroup { tasks in
            for _ in 0..<concurrent { tasks.addTask { await self.work() } }
            if endsInTheMiddle { tasks.addTask { await self.shutDownInTheMiddle(shutdown) } }
            if run.habits.contains(.leavingServers) { tasks.addTask { await self.replaceServers() } }
        }
        enter("closes its tunnels")
        await closeTunnels()
        if !endsInTheMiddle { await endQuietly() }
        group = nil
        clients = nil
        servers.withLock { $0 = [] }
    }

    private func enter(_ next: String) { stage.withLock { $0 = next } }

    var state: String { "an epoch that \(stage.withLock { $0 }), \(run.sessions(of: self).count) sessions" }

    private func begin() async throws {
        var options = LoopOptions()
        options.engine = .only(run.engine)
        if random.oneIn(3) { options.receiveBudget = .mebibytes(random.between(3, 16)) }
        if run.setting.isSimulated {
            // Where nothing is at stake but time, everything is too small.
            if random.flip() { options.submissionEntries = UInt32(random.logarithmic(2, 64)) }
            if random.oneIn(3) { options.chunkSize = 4096 }
            if random.oneIn(3) { options.receiveBudget = .bytes(random.logarithmic(4096, 1 << 18)) }
        }
        if random.oneIn(3) { options.copyLimit = .bytes(random.logarithmic(1, 4000)) }
        if random.oneIn(3) { options.shareThreshold = .bytes(random.logarithmic(1, 1 << 16)) }
        if random.oneIn(6) { options.spin = .microseconds(random.logarithmic(1, 200)) }
        if !run.habits.contains(.oddLoops) {
            options = LoopOptions()
            options.engine = .only(run.engine)
        }
        let chunk = options.chunkSize == 0 ? 64 << 10 : UInt64(options.chunkSize)
        receiveMemoryAtMost = max(UInt64(options.receiveBudget.bytes), chunk)
        (group, clients) = try run.setting.groups(loops: random.oneIn(4) ? 1 : 2, options)
        for loop in groups.flatMap(\.loops) { Census.watch(loop, .loop) }
        for index in 0..<6 {
            let server = try await listen(
                ListenerProfile(
                    &random, isUnix: index % 3 == 2 && !run.setting.isSimulated, isTask: index % 2 == 1, run.habits,
                    isStormy: run.isStormy))
            servers.withLock { $0.append(server) }
        }
        for index in 0..<group.loops.count where !run.rawListeners.isEmpty { await openTunnel(UInt64(index)) }
    }

    private func openTunnel(_ index: UInt64) async {
        let id = 1 << 62 | number << 8 | index
        let listener = run.rawListeners[Int(index) % run.rawListeners.count]
        let session = Session(id, .tunnel(seed: run.options.seed, id: id), self, listener)
        let tunnel = Tunnel(session)
        tunnels.append(tunnel)
        run.enter(session)
        await connect(session) { tunnel.open($0) }
    }

    private func closeTunnels() async {
        for tunnel in tunnels {
            tunnel.session.leave(.client)
            tunnel.close()
            await tunnel.session.finished()
            run.leave(tunnel.session)
        }
        tunnels = []
    }

    private func listen(
        _ profile: ListenerProfile
    ) async throws(TransportError) -> (profile: ListenerProfile, server: ServerChannel) {
        var profile = profile
        let run = run
        var bootstrap = ServerBootstrap(group: group).childOptions(profile.channel.options)
            .onAcceptError { [unowned self] error in
                // A ring that is too small is full when the kernel takes nothing from it.
                let isFull = run.setting.isSimulated && error.errno == ENOBUFS
                if !isShuttingDown, !run.isStormy, !isFull { run.report.fault("accept", "\(error)") }
            }
        let channel = profile.channel
        if profile.isTask {
            bootstrap = bootstrap.childHandlers { channel.handlers(nil) }.serve {
                await TaskEnd.serve($0, run, channel)
            }
        } else {
            bootstrap = bootstrap.childHandlers { channel.handlers(HandlerEnd(accepted: run, channel)) }
        }
        if profile.isUnix {
            let name = "torture-\(Unique.number)"
            profile.address = .unix(name: name)
            return (profile, try await bootstrap.bind(unixDomainSocketPath: "\0\(name)"))
        }
        let server = try await bootstrap.bind(host: run.setting.host, port: 0)
        profile.address = .tcp(port: server.localAddress.port)
        return (profile, server)
    }

    /// Tells one server to come to its end, with whatever it is serving, and puts another one in its place.
    private func replaceServer(_ number: Int, _ random: Random) async {
        var random = random
        let leaving = servers.withLock { $0[number] }
        leaving.profile.isLeaving.set()
        let isUnix = leaving.profile.isUnix
        let isTask = leaving.profile.isTask
        guard
            let next = try? await listen(
                ListenerProfile(&random, isUnix: isUnix, isTask: isTask, run.habits, isStormy: run.isStormy))
        else { return }
        servers.withLock { $0[number] = next }
        await leaving.server.shutdown(within: random.flip() ? .seconds(2) : .milliseconds(random.logarithmic(1, 200)))
        for session in run.sessions(of: self) where session.listener.isLeaving === leaving.profile.isLeaving && !isTask
        {
            if session.isOpen(.server) {
                session.fault("a server's shutdown left a connection", "session \(session.id)")
            }
        }
    }

    // MARK: Sessions

    private func work() async {
        while begunSessions.wrappingAdd(1, ordering: .relaxed).oldValue < limit, let id = run.nextSession() {
            var noise = Noise(
                run: run, epoch: self, group: clients, servers: group, random: Random(run.options.seed, id, 8))
            if noise.random.oneIn(8), run.habits.contains(.noise) { await noise.make() }
            for kind in run.setting.overture { await noise.make(kind) }
            let plan = Plan(seed: run.options.seed, id: id, in: run.setting, run.habits)
            let choice =
                plan.shape == .client ? run.rawListeners : servers.withLock { $0.prefix(busyServers).map(\.profile) }
            let session = Session(id, plan, self, choice[plan.listener % choice.count])
            run.enter(session)
            begin(session)
            await session.finished()
            run.leave(session)
        }
    }

    func anyListener(_ random: inout Random) -> ListenerProfile {
        let number = random.below(6)
        return servers.withLock { $0[number % $0.count].profile }
    }

    private func begin(_ session: Session) {
        if session.plan.shape == .server {
            run.driver.execute { $0.add(RawPeer(session, to: session.listener.address)) }
            return
        }
        session.workerStarted()
        Task.detached {
            await self.connect(session)
            session.workerEnded()
        }
    }

    private func connect(_ session: Session, _ connected: (Channel) -> Void = { _ in }) async {
        let profile = ChannelProfile(of: session)
        let bootstrap = ClientBootstrap(group: clients).options(profile.options).connectTimeout(
            run.setting.connectTimeout)
        do throws(TransportError) {
            let address = try session.listener.address.socketAddress(
                on: session.plan.way == .mapped ? "::ffff:\(run.setting.host)" : run.setting.host)
            if session.plan.client.isTask {
                let connection = try await bootstrap.handlers { profile.handlers(nil) }.open(address)
                await TaskEnd(session: session, side: .client, connection: connection, profile: profile).greetAndRun()
            } else {
                connected(
                    try await Self.connect(
                        bootstrap.handlers { profile.handlers(HandlerEnd(session, profile)) }, to: address,
                        by: session.plan.way, run.setting))
            }
        } catch {
            session.note(.client, "failed to connect", Int(error.code.rawValue), Int(error.errno))
            if run.losesPackets, error.code == .timedOut { session.excuse(.client, .abandoned) }
            if session.excuses.isDisjoint(with: [.shutdown, .storm, .abandoned]) {
                session.fault("connect", "\(error)")
            }
            session.over(.client)
            session.overWithoutServer()
        }
    }

    private static func connect(
        _ bootstrap: ClientBootstrap, to address: SocketAddress, by way: Plan.Way, _ setting: Setting
    ) async throws(TransportError) -> Channel {
        guard way == .name, let name = setting.name else { return try await bootstrap.connect(to: address) }
        return try await bootstrap.connect(host: name, port: address.port)
    }

    // MARK: The end

    private var shutdownTime: Duration {
        var random = random
        return switch random.below(4) {
        case 0: .zero
        case 1: .milliseconds(random.logarithmic(1, 500))
        default: .seconds(2)
        }
    }

    private var isEnding: Bool { begunSessions.load(ordering: .relaxed) >= limit || run.isOver }

    private func replaceServers() async {
        var random = Random(run.options.seed, number, 9)
        while true {
            let end = Clock.microseconds + UInt64(random.logarithmic(100_000, 2_000_000))
            while Clock.microseconds < end {
                if isEnding { return }
                // In a network the look costs more than the time.
                await Clock.sleep(.milliseconds(run.setting.isSimulated ? 50 : 5))
            }
            let number = random.below(6)
            await replaceServer(number, Random(random.next()))
        }
    }

    private func shutDownInTheMiddle(_ time: Duration) async {
        while !isEnding { await Clock.sleep(.milliseconds(2)) }
        shuttingDown.set()
        enter("shuts down in the middle")
        for session in run.sessions(of: self) { session.note(.server, "the group shuts down") }
        let pause = random.oneIn(4) ? random.below(50) : nil
        await withTaskGroup { tasks in
            for group in groups { tasks.addTask { await self.shutDown(group, within: time, interruptedAfter: pause) } }
        }
        // No server of this group will ask for a session any more; a bare one may be about to.
        await Clock.sleep(.milliseconds(200))
        for session in run.sessions(of: self) { session.overWithoutServer() }
    }

    private var groups: [EventLoopGroup] {
        guard let group, let clients else { return [] }
        return group === clients ? [group] : [group, clients]
    }

    private func shutDown(_ group: EventLoopGroup, within time: Duration, interruptedAfter pause: Int?) async {
        guard let pause else {
            _ = await group.shutdown(within: time)
            return
        }
        // A second one, in no time, cuts the first one short.
        async let first = group.shutdown(within: .seconds(30))
        await Clock.sleep(.milliseconds(pause))
        await group.shutdown(within: .zero)
        _ = await first
    }

    private func endQuietly() async {
        enter("closes its listeners")
        let all = servers.withLock { $0.map(\.server) }
        for server in all { server.close() }
        for server in all { await server.closed() }
        enter("looks at its loops")
        for loop in groups.flatMap(\.loops) { await check(loop) }
        enter("shuts its quiet groups down")
        for group in groups {
            let report = await group.shutdown(within: .seconds(5))
            if !report.isComplete, !run.isStormy { run.report.fault("shutdown of a quiet group", "\(report)") }
        }
    }

    /// Nothing of all that went through a loop is left in it.
    private func check(_ loop: EventLoop) async {
        var patience = 200
        while let counts = await loop.statistics() {
            var left: [String] = []
            // A peer whose last word was lost says nothing more.
            if counts.openEndpoints > 0, !run.losesPackets { left.append("\(counts.openEndpoints) endpoints open") }
            if counts.queuedBytes != 0 { left.append("\(counts.queuedBytes) bytes queued") }
            if counts.armedTimers > Self.quietTimers { left.append("\(counts.armedTimers) timers armed") }
            if counts.receiveMemory > Self.quietReceiveMemory {
                left.append("\(counts.receiveMemory) bytes of receive memory")
            }
            if counts.staleCompletions > 0, !run.setting.isSimulated {
                run.report.fault("stale completions", "\(counts.staleCompletions)")
            }
            if counts.completionOverflows > 0, !run.isStormy {
                run.report.fault("completion overflows", "\(counts.completionOverflows)")
            }
            if left.isEmpty { return }
            patience -= 1
            if patience == 0 { return run.report.leak("on loop \(loop.index): \(left.joined(separator: ", "))") }
            await Clock.sleep(.milliseconds(10))
        }
    }
}

extension ChannelProfile {
    /// The whole pipeline of a channel; without an end for a channel that tasks use.
    func handlers(_ end: HandlerEnd?) -> [any ChannelHandler] {
        let gang = Meddler.Gang(end)
        var handlers: [any ChannelHandler] = []
        if hasBackPressure { handlers.append(BackPressureHandler()) }
        for index in 0..<meddlers / 2 { handlers.append(Meddler(gang, Random(seed, UInt64(index), 7))) }
        if hasScrambler { handlers.append(Scrambler(Random(seed, 100, 7))) }
        if let end { handlers.append(end) }
        for index in meddlers / 2..<meddlers { handlers.append(Meddler(gang, Random(seed, UInt64(index), 7))) }
        return handlers
    }
}

extension RawSocket.Address {
    func socketAddress(on host: String) throws(TransportError) -> SocketAddress {
        switch self {
        case .tcp(let port): try SocketAddress(host: host, port: port)
        case .unix(let name): try SocketAddress(unixDomainSocketPath: "\0\(name)")
        }
    }
}
