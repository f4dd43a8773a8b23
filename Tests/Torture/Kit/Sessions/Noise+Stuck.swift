import SwiftTransport

// What is sent and never read.
extension Noise {
    /// Reads nothing, and is gone after a while.
    private final class Deaf: ChannelHandler {
        static let interests: ChannelEvents = .active
        private let patience: Duration

        init(_ patience: Duration) { self.patience = patience }

        func channelActive(_ context: ChannelContext) {
            let channel = context.channel
            channel.setAutomaticReading(false)
            context.schedule(after: patience) { $0.close(.immediate) }
            context.fireChannelActive()
        }
    }

    /// A connection that hardly anybody reads from: what is sent stays on its way until the connection is cut off, or the network gives
    /// up, and its end waits behind what nobody has read.
    mutating func stuck() async {
        let patience = Duration.milliseconds(random.logarithmic(1, 8000))
        let bootstrap = ServerBootstrap(group: servers).childOptions([.receiveBuffer(.kibibytes(8))])
            .childHandlers { [Deaf(patience)] }
        guard let server = try? await bootstrap.bind(host: run.setting.host, port: 0) else { return }
        var options: [ChannelOption] = [.sendBuffer(.kibibytes(8))]
        if random.flip() { options.append(.zeroCopy(from: .kibibytes(32))) }
        if run.isStormy { options.append(.userTimeout(.milliseconds(random.logarithmic(200, 2000)))) }
        let client = ClientBootstrap(group: group).options(options).connectTimeout(run.setting.connectTimeout)
        let isDeaf = !random.oneIn(3)
        if let channel = try? await client.handlers({ isDeaf ? [Deaf(.seconds(60))] : [] }).connect(
            to: server.localAddress)
        {
            let count = random.flip() ? random.logarithmic(1, 4000) : random.between(1 << 16, 1 << 18)
            channel.writeAndFlush(Pattern.shared[0..<count])
            if run.isStormy, run.losesPackets {
                await run.setting.cutOff(for: .milliseconds(random.logarithmic(500, 4000)))
            } else {
                await Clock.sleep(.milliseconds(random.logarithmic(1, 2000)))
            }
            let modes: [CloseMode] = [.immediate, .immediate, .reset, .drain(within: .milliseconds(50))]
            channel.close(modes[random.below(modes.count)])
            await channel.closed()
        }
        await server.shutdown(within: .zero)
    }

    /// Connects to who is gone at once, and stands still until that is long over and the connection lost.
    mutating func caught() async {
        let bootstrap = ServerBootstrap(group: servers).childHandlers { [Deaf(.zero)] }
        guard let server = try? await bootstrap.bind(host: run.setting.host, port: 0) else { return }
        let client = ClientBootstrap(group: group).connectTimeout(run.setting.connectTimeout)
        let address = server.localAddress
        let connecting = Task { try? await client.connect(to: address) }
        await Clock.sleep(.microseconds(random.logarithmic(10, 1000)))
        await run.setting.catchClients(for: .milliseconds(random.between(1, 20)))
        if let channel = await connecting.value {
            channel.close(.reset)
            await channel.closed()
        }
        await server.shutdown(within: .zero)
    }
}
