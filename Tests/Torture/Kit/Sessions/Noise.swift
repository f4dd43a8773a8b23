import Glibc
import SwiftTransport

/// What happens beside the sessions: connections that say nothing or nonsense, connects that fail, are given up or come too
/// late, listeners and groups that come and go.
struct Noise: Sendable {
    let run: Run
    let epoch: Epoch
    let group: EventLoopGroup
    var random: Random

    mutating func make() async {
        // Bare sockets, Unix sockets and groups of the machine are not to be had in a simulated network.
        let kind = run.setting.isSimulated ? random.between(3, 7) : random.below(9)
        let ticket = run.began("noise of kind \(kind)")
        defer { run.ended(ticket) }
        switch kind {
        case 0, 1, 2: await strangers()
        case 3: await refused()
        case 4, 5: await givenUp()
        case 6: await tooLate()
        case 7: await listener()
        default: await smallGroup()
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

    /// A group that lives for one connection to itself.
    private mutating func smallGroup() async {
        var options = LoopOptions()
        options.engine = .only(run.engine)
        guard let small = try? EventLoopGroup(loops: 1, options: options) else { return }
        let isHasty = random.flip()
        if random.flip() {
            let server = try? await ServerBootstrap(group: small)
                .serve { connection in for try await bytes in connection.inbound { try await connection.send(bytes) } }
                .bind(host: "127.0.0.1", port: 0)
            if let server, let connection = try? await ClientBootstrap(group: small).open(server.localAddress) {
                _ = try? await connection.send(Pattern.shared[0..<random.logarithmic(1, 10_000)])
                if !isHasty {
                    var inbound = connection.inbound.makeAsyncIterator()
                    _ = try? await inbound.next()
                }
                connection.channel.close()
            }
        }
        await small.shutdown(within: isHasty ? .zero : .seconds(1))
    }
}
