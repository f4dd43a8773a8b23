import SwiftTransport
import Synchronization
import TransportTesting

/// A service and its clients in a simulated network, from the first loop to the shutdown, and what became of it.
struct Life: Sendable {
    /// An error that somebody was told.
    struct Trouble: Sendable, Hashable, CustomStringConvertible {
        let stage: String
        let error: TransportError
        var description: String { "\(stage): \(error), \(error.call.name) \(error.errno)" }
    }

    struct Outcome: Sendable {
        var calls = 0
        var failed: FailedCall?
        var errors: [Trouble] = []
        var isComplete = false
        var memoryBlocks = 0
        /// What came before the failing call and behind it.
        var surroundings = ""
        /// What was left, or did not end.
        var problems: [String] = []
    }

    static func lived(on engine: Engine, failing: (number: Int, how: Failing)?) async throws -> Outcome {
        var options = SimulationOptions()
        options.engine = engine
        options.stepLimit = 200_000
        do {
            return try await SimulatedNetwork.run(seed: 1, options: options) { network in
                network.failCalls(from: failing?.number, goesOn: failing?.how == .allBehindIt)
                return await Life(network: network).live()
            }
        } catch let error as SimulationError {
            return Outcome(problems: [String("\(error)".prefix(400))])
        }
    }

    private let network: SimulatedNetwork
    private let servers: SimulatedHost
    private let clients: SimulatedHost
    private let diary = Diary()

    private init(network: SimulatedNetwork) {
        self.network = network
        servers = network.addHost("server")
        clients = network.addHost("client")
    }

    private func live() async -> Outcome {
        // What must get to a loop is waited for until there is memory for it, and on a machine like this there is some in the end.
        let relief = Task { [network] in
            try await Task.sleep(for: .milliseconds(1200), clock: network.clock)
            network.callsSucceed()
        }
        defer { relief.cancel() }
        if let server = group(on: servers) {
            if let client = group(on: clients) {
                await serve(server, client)
                await client.shutdown(within: .seconds(1))
            }
            await server.shutdown(within: .seconds(1))
        }
        var outcome = Outcome(calls: network.fallibleCalls, failed: network.failedCall)
        network.callsSucceed()
        await settle()
        outcome.errors = diary.errors
        if outcome.failed != nil { outcome.surroundings = Self.surroundings(in: network.trace) }
        outcome.isComplete = diary.isComplete
        outcome.memoryBlocks = network.memoryBlocks
        for host in [servers, clients] where host.openDescriptors + host.connections > 0 {
            outcome.problems.append(
                "\(host.openDescriptors) descriptors, \(host.connections) connections of \(host.name)")
        }
        outcome.problems += diary.living
        return outcome
    }

    private static func surroundings(in trace: String) -> String {
        let lines = trace.split(separator: "\n")
        guard let place = lines.firstIndex(where: { $0.contains(" fault ") }) else { return "" }
        return lines[max(0, place - 8)..<min(lines.count, place + 16)].joined(separator: "\n")
    }

    /// What is late is late: the kernels have their own patience.
    private func settle() async {
        for _ in 0..<60 {
            if servers.openDescriptors + servers.connections + clients.openDescriptors + clients.connections == 0,
                diary.living.isEmpty
            {
                return
            }
            await network.advance(by: .seconds(60))
        }
    }

    private func group(on host: SimulatedHost) -> EventLoopGroup? {
        do throws(TransportError) {
            return try host.makeGroup()
        } catch {
            diary.note("group of the \(host.name)", error)
            return nil
        }
    }

    // MARK: What is done

    private func serve(_ server: EventLoopGroup, _ client: EventLoopGroup) async {
        let diary = diary
        do throws(TransportError) {
            let echoes = try await ServerBootstrap(group: server)
                .childOptions(.allowHalfClosure(true), .linger(nil))
                .childHandlers { [Echo(diary)] }
                .onAcceptError { diary.note("accept", $0) }
                .bind(host: "0.0.0.0", port: 7000)
            let tasks = try await ServerBootstrap(group: server)
                .serve { connection in
                    do throws(TransportError) {
                        while let bytes = try await connection.read() { try await connection.send(bytes) }
                    } catch {
                        // The server may be told to leave before the client has left.
                        if error.code != .shuttingDown { diary.note("answer", error) }
                    }
                }
                .onAcceptError { diary.note("accept", $0) }
                .bind(host: "0.0.0.0", port: 7001)
            await speak(client)
            await ask(client)
            await echoes.shutdown(within: .seconds(1))
            await tasks.shutdown(within: .seconds(1))
        } catch {
            diary.note("bind", error)
        }
    }

    /// By handlers: writes from on and off the loop, a file, memory that is not copied, a timer, the end of one direction.
    private func speak(_ group: EventLoopGroup) async {
        let diary = diary
        let bootstrap = ClientBootstrap(group: group).connectTimeout(.seconds(1))
            .options(
                .allowHalfClosure(true), .zeroCopy(from: .kibibytes(32)), .noDelay(false), .userTimeout(.seconds(9))
            )
            .handlers { [Listener(diary)] }
        do throws(TransportError) {
            let channel = try await bootstrap.connect(host: "server", port: 7000)
            channel.onClose { diary.did(.closed) }
            _ = await channel.remoteAddress()
            channel.write("from elsewhere ", promise: .callback { diary.told("write", $0) })
            channel.write(
                Buffer([UInt8](repeating: 7, count: 40_000)), promise: .callback { diary.told("large write", $0) })
            do throws(TransportError) {
                channel.writeAndFlush(try FileRegion(path: #filePath), promise: .callback { diary.told("file", $0) })
            } catch {
                diary.note("file", error)
            }
            let loop = channel.eventLoop
            let timer = loop.schedule(after: .milliseconds(3)) {
                channel.writeAndFlush("from a timer", promise: .callback { diary.told("write from a timer", $0) })
                channel.shutdownOutput(promise: .callback { diary.told("end of output", $0) })
            } otherwise: { error in
                diary.note("timer", error)
            }
            await network.advance(by: .milliseconds(500))
            // Without memory it never began.
            timer.cancel()
            channel.close(.drain(within: .seconds(1)))
            await channel.closed()
        } catch {
            diary.note("connect", error)
        }
    }

    /// By tasks.
    private func ask(_ group: EventLoopGroup) async {
        do throws(TransportError) {
            let connection = try await ClientBootstrap(group: group).connectTimeout(.seconds(1)).open(
                host: "server", port: 7001)
            do throws(TransportError) {
                try await connection.send("question")
                if try await connection.read(within: .seconds(1)) == "question" { diary.did(.answered) }
            } catch {
                diary.note("question", error)
            }
            await connection.close()
        } catch {
            diary.note("open", error)
        }
    }
}

/// What happened in a life. Any thread.
final class Diary: Sendable {
    enum Deed: CaseIterable { case answered, echoed, closed }

    private struct State {
        var errors: [Life.Trouble] = []
        var deeds: Set<Deed> = []
        var living = 0
    }
    private let state = Mutex(State())

    func note(_ stage: String, _ error: any Error) {
        guard let error = error as? TransportError else { preconditionFailure("\(stage): \(error)") }
        state.withLock { $0.errors.append(Life.Trouble(stage: stage, error: error)) }
    }
    func told(_ stage: String, _ result: WriteResult) { if let result { note(stage, result) } }
    func did(_ deed: Deed) { state.withLock { _ = $0.deeds.insert(deed) } }
    func born() { state.withLock { $0.living += 1 } }
    func died() { state.withLock { $0.living -= 1 } }

    var errors: [Life.Trouble] { state.withLock { $0.errors } }
    /// Nothing is missing.
    var isComplete: Bool { state.withLock { $0.deeds.count == Deed.allCases.count } }
    var living: [String] { state.withLock { $0.living == 0 ? [] : ["\($0.living) handlers alive"] } }
}

/// Sends everything back, the end too.
private final class Echo: ChannelHandler {
    static let interests: ChannelEvents = [.read, .readComplete, .inputClosed, .error]
    private let diary: Diary

    init(_ diary: Diary) {
        self.diary = diary
        diary.born()
    }
    deinit { diary.died() }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.write(bytes) }
    func channelReadComplete(_ context: ChannelContext) { context.flush() }
    func inputClosed(_ context: ChannelContext) { context.close(.drain(within: .seconds(1))) }
    func errorCaught(_ context: ChannelContext, _ error: any Error) { diary.note("echo", error) }
}

/// Hears everything, and closes behind the end.
private final class Listener: ChannelHandler, @unchecked Sendable {
    static let interests: ChannelEvents = [.read, .inputClosed, .error]
    private let diary: Diary
    private var count = 0

    init(_ diary: Diary) {
        self.diary = diary
        diary.born()
    }
    deinit { diary.died() }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { count += bytes.count }
    func inputClosed(_ context: ChannelContext) {
        if count > 45_000 { diary.did(.echoed) }
        context.close(.immediate)
    }
    func errorCaught(_ context: ChannelContext, _ error: any Error) { diary.note("client", error) }
}
