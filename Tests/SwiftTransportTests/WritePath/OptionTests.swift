import CTransport
import Glibc
import Testing

@testable import SwiftTransport

extension WritePath {
    /// The typed options, as the kernel has them afterwards.
    @Suite struct Options {
        private struct Expected: Sendable {
            let name: String, option: ChannelOption, level: Int32, number: Int32, value: Int32
        }
        private static let tcp = Int32(IPPROTO_TCP)

        private static var all: [Expected] {
            let keepAlive = ChannelOption.keepAlive(idle: .seconds(61), interval: .seconds(7), count: 3)
            return [
                Expected(name: "TCP_NODELAY", option: .noDelay(false), level: tcp, number: TCP_NODELAY, value: 0),
                Expected(name: "SO_KEEPALIVE", option: keepAlive[0], level: SOL_SOCKET, number: SO_KEEPALIVE, value: 1),
                Expected(name: "TCP_KEEPIDLE", option: keepAlive[1], level: tcp, number: TCP_KEEPIDLE, value: 61),
                Expected(name: "TCP_KEEPINTVL", option: keepAlive[2], level: tcp, number: TCP_KEEPINTVL, value: 7),
                Expected(name: "TCP_KEEPCNT", option: keepAlive[3], level: tcp, number: TCP_KEEPCNT, value: 3),
                Expected(
                    name: "TCP_USER_TIMEOUT", option: .userTimeout(.milliseconds(12_345)), level: tcp, number: 18,
                    value: 12_345),
                Expected(
                    name: "TCP_NOTSENT_LOWAT", option: .unsentLimit(.kibibytes(16)), level: tcp, number: 25,
                    value: 16_384),
                // The kernel doubles both.
                Expected(
                    name: "SO_SNDBUF", option: .sendBuffer(.kibibytes(20)), level: SOL_SOCKET, number: SO_SNDBUF,
                    value: 40_960),
                Expected(
                    name: "SO_RCVBUF", option: .receiveBuffer(.kibibytes(20)), level: SOL_SOCKET, number: SO_RCVBUF,
                    value: 40_960),
                Expected(
                    name: "SO_REUSEPORT", option: .reusePort(true), level: SOL_SOCKET, number: SO_REUSEPORT, value: 1),
                Expected(
                    name: "raw", option: .raw(level: SOL_SOCKET, name: SO_PRIORITY, value: 5), level: SOL_SOCKET,
                    number: SO_PRIORITY, value: 5),
            ]
        }

        private static func value(_ channel: Channel, _ level: Int32, _ number: Int32) -> Int32 {
            guard let slot = channel.slot else { return -1 }
            var value: Int32 = -1
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(slot.pointee.fd, level, number, &value, &length)
            return value
        }

        /// W1 and all the others: set on a client's socket.
        @Test(arguments: WritePath.engines)
        func optionsAreSetOnAClient(engine: Engine) async throws {
            try await WritePath.withRig(engine, Self.all.map(\.option)) { rig in
                for expected in Self.all {
                    let value = try await rig.run { Self.value($0, expected.level, expected.number) }
                    #expect(value == expected.value, "\(expected.name)")
                }
            }
        }

        /// On the children of a server, which get them from the listener.
        @Test(arguments: WritePath.engines)
        func optionsAreSetOnAServersChildren(engine: Engine) async throws {
            var loop = LoopOptions()
            loop.engine = .only(engine)
            let group = try EventLoopGroup(loops: 1, options: loop)
            let log = Log()
            var bootstrap = ServerBootstrap(group: group).childHandlers { [Recorder(log)] }
            // Every connection of one listener shares its port anyway.
            let expected = Self.all.filter { $0.name != "SO_REUSEPORT" }
            for each in expected { bootstrap = bootstrap.childOptions(each.option) }
            let server = try await bootstrap.bind(host: "127.0.0.1", port: 0)
            let client = try await ClientBootstrap(group: group).connect(to: server.localAddress)
            await log.until(.active)
            for each in expected {
                let value = await group.loops[0].run {
                    let children = group.loops[0].own.channels.all.compactMap { $0 as? Channel }.filter {
                        $0 !== client
                    }
                    return children.map { Self.value($0, each.level, each.number) }
                }
                #expect(value == [each.value], "\(each.name)")
            }
            await group.shutdown(within: .zero)
        }

        /// Without any: Nagle's algorithm is off, everything else is the kernel's.
        @Test(arguments: WritePath.engines)
        func defaultsAreTheKernelsButForNagle(engine: Engine) async throws {
            try await WritePath.withRig(engine) { rig in
                let noDelay = try await rig.run { Self.value($0, Self.tcp, TCP_NODELAY) }
                #expect(noDelay == 1)
                let keepAlive = try await rig.run { Self.value($0, SOL_SOCKET, SO_KEEPALIVE) }
                #expect(keepAlive == 0)
                let userTimeout = try await rig.run { Self.value($0, Self.tcp, 18) }
                #expect(userTimeout == 0)
            }
        }

        /// Notes TCP_QUICKACK before anything is received.
        private final class Observer: ChannelHandler {
            static let interests: ChannelEvents = [.active]
            let log: Log
            init(_ log: Log) { self.log = log }
            func channelActive(_ context: ChannelContext) {
                log.add(.note("quickack \(Options.value(context.channel, Options.tcp, TCP_QUICKACK))"))
            }
        }

        /// TCP_QUICKACK is a mode of the moment: connecting and receiving change it, so it is set on every connection.
        @Test(arguments: WritePath.engines, [true, false])
        func quickAcknowledgeIsSetOnEveryConnection(engine: Engine, on: Bool) async throws {
            // swift-format-ignore: OnlyOneTrailingClosureArgument
            try await WritePath.withRig(engine, [.quickAcknowledge(on)], handlers: { [Observer($0)] }) { rig in
                #expect(rig.log.events == [.note("quickack \(on ? 1 : 0)")])
            }
        }

        /// SO_LINGER, on and off.
        @Test(arguments: WritePath.engines, [Duration?.none, .seconds(4), .seconds(-3)])
        func lingerIsSetAndSwitchedOff(engine: Engine, time: Duration?) async throws {
            try await WritePath.withRig(engine, [.linger(.seconds(9)), .linger(time)]) { rig in
                let seconds = try await rig.run { $0.slot.flatMap { Self.linger($0.pointee.fd) } }
                #expect(seconds == time.map { $0 < .zero ? 0 : 4 })
            }
        }

        /// A lingering close(2) would hold the loop up, and every channel of it, until a dead peer has answered: it is switched
        /// off first. With zero, which does not wait, it stays.
        @Test(arguments: WritePath.engines, [CloseMode.immediate, .graceful])
        func closingDoesNotLinger(engine: Engine, mode: CloseMode) async throws {
            for seconds in [0, 1, 4] {
                try await WritePath.withRig(engine, [.linger(.seconds(seconds))]) { rig in
                    // The socket lives on in the copy, so that it can be asked.
                    let copy = try #require(try await rig.run { $0.slot.map { dup($0.pointee.fd) } })
                    rig.peer.endOutput()
                    rig.channel.close(mode)
                    await rig.channel.closed()
                    #expect(Self.linger(copy) == (seconds == 0 ? 0 : nil))
                    Glibc.close(copy)
                }
            }
        }

        /// The seconds a close of the socket lingers; `nil` when it does not.
        private static func linger(_ descriptor: Int32) -> Int32? {
            var value = Glibc.linger(l_onoff: 7, l_linger: 7)
            var length = socklen_t(MemoryLayout<Glibc.linger>.size)
            getsockopt(descriptor, SOL_SOCKET, SO_LINGER, &value, &length)
            return value.l_onoff == 0 ? nil : value.l_linger
        }

        /// TCP_RTO_MAX_MS: set where the kernel has it (6.15), an error where not.
        @Test(arguments: WritePath.engines)
        func maximumRetransmissionTimeoutIsSetWhereTheKernelHasIt(engine: Engine) async throws {
            do throws(any Error) {
                try await WritePath.withRig(engine, [.maximumRetransmissionTimeout(.seconds(2))]) { rig in
                    let milliseconds = try await rig.run { Self.value($0, Self.tcp, 44) }
                    #expect(milliseconds == 2000)
                }
            } catch let error as TransportError {
                #expect(error.code == .unsupportedOption)
            }
        }

        /// An option the kernel does not know, or a value it does not take, is an error of the connect and the bind, not a trap, and
        /// no descriptor is left behind.
        @Test(arguments: WritePath.engines)
        func anUnsupportedOptionIsAnError(engine: Engine) async throws {
            let unknown = ChannelOption.raw(level: Self.tcp, name: 9999, value: 1)
            let outOfRange = ChannelOption.maximumRetransmissionTimeout(.seconds(500))
            for option in [unknown, outOfRange] {
                let failure = await #expect(throws: TransportError.self) {
                    try await WritePath.withRig(engine, [option]) { _ in }
                }
                #expect(failure?.code == .unsupportedOption && failure?.call == .setsockopt)
                let group = try EventLoopGroup(loops: 2)
                let refused = await #expect(throws: TransportError.self) {
                    _ = try await ServerBootstrap(group: group).childOptions(option).bind(host: "127.0.0.1", port: 0)
                }
                #expect(refused?.code == .unsupportedOption)
                await group.shutdown(within: .zero)
            }
        }

        /// A Unix socket has no TCP options: they are left out, the others are set.
        @Test(arguments: WritePath.engines)
        func aUnixSocketHasNoOptionsOfTCP(engine: Engine) async throws {
            let options: [ChannelOption] = [.noDelay(true), .userTimeout(.seconds(1)), .sendBuffer(.kibibytes(20))]
            try await WritePath.withRig(engine, options, unix: true) { rig in
                let sendBuffer = try await rig.run { Self.value($0, SOL_SOCKET, SO_SNDBUF) }
                #expect(sendBuffer == 40_960)
            }
        }
    }
}
