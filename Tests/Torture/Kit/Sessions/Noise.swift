import Glibc
import SwiftTransport

/// What happens beside the sessions: connections that say nothing or nonsense, connects that fail, are given up or come too
/// late, listeners and groups that come and go.
struct Noise: Sendable {
    let run: Run
    let epoch: Epoch
    let group: EventLoopGroup
    /// Of those who accept.
    let servers: EventLoopGroup
    var random: Random

    enum Kind: CaseIterable {
        case stranger, refused, givenUp, tooLate, listener, smallGroup, unknown, stuck, caught

        /// Bare sockets are the machine's; names that nobody has it may be asked for long.
        static let real: [Kind] = [
            .stranger, .stranger, .stranger, .refused, .givenUp, .givenUp, .tooLate, .listener, .smallGroup,
        ]
        static let simulated: [Kind] = [
            .refused, .givenUp, .givenUp, .tooLate, .listener, .smallGroup, .unknown, .stuck,
        ]
    }

    mutating func make() async {
        let kinds = run.setting.isSimulated ? Kind.simulated : Kind.real
        await make(kinds[random.below(kinds.count)])
    }

    mutating func make(_ kind: Kind) async {
        let ticket = run.began("noise of kind \(kind)")
        defer { run.ended(ticket) }
        switch kind {
        case .stranger: await strangers()
        case .refused: await refused()
        case .givenUp: await givenUp()
        case .tooLate: await tooLate()
        case .listener: await listener()
        case .smallGroup: await smallGroup()
        case .unknown: await unknown()
        case .stuck: await stuck()
        case .caught: await caught()
        }
    }

    /// Connects, perhaps says something, and is gone.
    private mutating func strangers() async {
        let listener = epoch.anyListener(&random)
        let isReset = random.flip()
        let bytes = (0..<random.below(40)).map { _ in UInt8.random(in: 0...255, using: &random) }
        let descriptor = RawSocket.open(listener.address)
        guard descriptor >= 0 else { return }
        _ = RawSocket.connect(descriptor, to: listener.address)
        if !bytes.isEmpty { _ = bytes.withUnsafeBytes { RawSocket.send(descriptor, $0.baseAddress!, $0.count) } }
        if random.oneIn(4) { await Clock.sleep(.microseconds(random.logarithmic(1, 3000))) }
        if isReset { RawSocket.reset(descriptor) } else { close(descriptor) }
    }

    /// Nobody listens there.
    private mutating func refused() async {
        let client = ClientBootstrap(group: group)
        do throws(TransportError) {
            let channel =
                if random.flip() || run.setting.isSimulated {
                    try await client.connect(host: run.setting.host, port: 1)
                } else {
                    try await client.connect(unixDomainSocketPath: "\0torture-nobody-\(getpid())")
                }
            run.report.fault("connect", "where nobody listens")
            channel.close(.reset)
        } catch {
            if error.code != .connectionRefused, !epoch.isShuttingDown, !run.isStormy, !run.losesPackets {
                run.report.fault("connect", "refused as \(error)")
            }
        }
    }

    /// The task is cancelled at any moment of the connect; a connection that comes all the same is closed.
    private mutating func givenUp() async {
        let listener = epoch.anyListener(&random)
        let client = ClientBootstrap(group: group)
        let byName = !listener.isUnix && random.oneIn(8) && !run.setting.isSimulated
        guard let address = try? listener.address.socketAddress(on: run.setting.host) else { return }
        let task = Task { () -> Channel? in
            if byName { return try? await client.connect(host: "localhost", port: address.port) }
            return try? await client.connect(to: address)
        }
        if random.flip() { await Clock.sleep(.microseconds(random.logarithmic(1, 500))) }
        task.cancel()
        guard let channel = await task.value else { return }
        let modes: [CloseMode] = [.immediate, .reset, .drain(within: .zero), .drain(within: .milliseconds(5))]
        channel.close(modes[random.below(modes.count)])
        await channel.closed()
    }

    private mutating func tooLate() async {
        let listener = epoch.anyListener(&random)
        guard let address = try? listener.address.socketAddress(on: run.setting.host) else { return }
        let time = Duration.microseconds(random.logarithmic(1, 300))
        guard let channel = try? await ClientBootstrap(group: group).connectTimeout(time).connect(to: address) else {
            return
        }
        channel.close(.reset)
        await channel.closed()
    }

    private mutating func listener() async {
        let server = ServerBootstrap(group: group)
        let bound =
            if random.flip() || run.setting.isSimulated {
                try? await server.bind(host: run.setting.isSimulated ? "0.0.0.0" : run.setting.host, port: 0)
            } else {
                try? await server.bind(unixDomainSocketPath: "\0torture-\(Unique.number)")
            }
        guard let bound else { return }
        if random.flip() { await Task.yield() }
        bound.close()
        await bound.closed()
    }

    /// A host that nobody has heard of.
    private mutating func unknown() async {
        do throws(TransportError) {
            try await ClientBootstrap(group: group).connect(host: "nobody", port: 1).close(.reset)
            run.report.fault("connect", "to a host that there is not")
        } catch {
            if error.code != .invalidAddress, !epoch.isShuttingDown, !run.isStormy {
                run.report.fault("connect", "to a host that there is not: \(error)")
            }
        }
    }

    /// A group that lives for one connection to itself.
    private mutating func smallGroup() async {
        var options = LoopOptions()
        options.engine = .only(run.engine)
        let small: EventLoopGroup
        do throws(TransportError) {
            small = try run.setting.smallGroup(options)
        } catch {
            if !run.isStormy { run.report.fault("group", "\(error)") }
            if error.call == .none { run.report.fault("group", "an error that names no call: \(error)") }
            return
        }
        let isHasty = random.flip()
        if random.flip() {
            let server = try? await ServerBootstrap(group: small)
                .serve { connection in for try await bytes in connection.inbound { try await connection.send(bytes) } }
                .bind(host: "127.0.0.1", port: 0)
            if let server, let connection = try? await ClientBootstrap(group: small).open(server.localAddress) {
                _ = try? await connection.send(Pattern.shared[0..<random.logarithmic(1, 10_000)])
                if !isHasty {
                    // Where packets are lost, a kernel may give up and tell nobody.
                    _ = try? await connection.read(within: .seconds(60))
                }
                connection.channel.close()
            }
        }
        await small.shutdown(within: isHasty ? .zero : .seconds(1))
    }
}
