import SwiftTransport
import Testing
import TransportTesting

/// What a network does to those who speak over it.
@Suite struct PartitionTests {
    @Test(arguments: Engine.allCases) func nothingPassesAPartitionUntilItHeals(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network)
            let (host, connection) = try await service.client()
            try await connection.echo("before")
            network.partition(service.host, from: host)
            try await connection.send("meanwhile")
            #expect(
                await failure { () throws(TransportError) in _ = try await connection.read(within: .seconds(60)) }
                    == .timedOut)
            network.heal()
            #expect(try await connection.read(within: .seconds(120)) == "meanwhile")
            #expect(network.elapsed > .seconds(60))
            #expect(network.elapsed < .seconds(200))
        }
    }

    /// A service with a time limit of its own, for ten minutes; how long the test takes is printed.
    @Test(arguments: Engine.allCases) func aPartitionOfTenMinutesTakesNoTime(engine: Engine) async throws {
        let took = try await ContinuousClock().measure {
            try await simulated(engine) { network in
                let service = try await EchoService(network)
                let (host, connection) = try await service.client(options: .userTimeout(.seconds(30)))
                try await connection.echo("before")
                network.partition(service.host, from: host)
                var refused = 0
                let began = network.elapsed
                connection.channel.writeAndFlush("lost")
                await connection.channel.closed()
                while network.elapsed < began + .seconds(600) {
                    let group = try host.makeGroup()
                    #expect(
                        await failure { () throws(TransportError) in
                            _ = try await ClientBootstrap(group: group).connectTimeout(.seconds(10))
                                .open(host: "server", port: EchoService.port)
                        } == .timedOut)
                    refused += 1
                    await network.advance(by: .seconds(20))
                }
                #expect(refused >= 18)
                network.heal()
                try await service.connect(from: host).echo("after")
            }
        }
        print("a partition of ten minutes on \(engine): \(took)")
    }

    @Test(arguments: Engine.allCases) func aPartitionMayBeOneWay(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network)
            let (host, connection) = try await service.client()
            try await connection.echo("before")
            network.partitionOneWay(from: service.host, to: host)
            let before = network.statistics.bytes
            try await connection.send("arrives")
            await network.advance(by: .seconds(1))
            // It arrived, and the answer was sent: only that does not come.
            #expect(network.statistics.bytes == before + 14)
            #expect(
                await failure { () throws(TransportError) in _ = try await connection.read(within: .seconds(5)) }
                    == .timedOut)
            network.heal()
            #expect(try await connection.read(within: .seconds(60)) == "arrives")
        }
    }

    /// Nobody answers any more: the connection ends by the kernel's patience, a quarter of an hour.
    @Test(arguments: Engine.allCases) func aLongPartitionEndsAConnectionThatSends(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network)
            let (host, connection) = try await service.client()
            try await connection.echo("before")
            // The answer is acknowledged.
            await network.advance(by: .seconds(1))
            network.partition(service.host, from: host)
            let began = network.elapsed
            connection.channel.writeAndFlush("lost")
            await connection.channel.closed()
            #expect(network.elapsed - began > .seconds(600))
            #expect(network.elapsed - began < .seconds(2000))
            #expect(network.statistics.timeouts == 1)
            #expect(host.connections == 0)
            // The other side has sent nothing, and knows nothing.
            #expect(service.host.connections == 1)
        }
    }

    @Test(arguments: Engine.allCases) func delayIsOneWay(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network)
            let (host, connection) = try await service.client()
            network.delay(.seconds(3), from: host, to: service.host)
            let began = network.elapsed
            try await connection.echo("slow")
            let took = network.elapsed - began
            #expect(took >= .seconds(3))
            #expect(took < .seconds(4))
        }
    }

    @Test(arguments: Engine.allCases) func whatIsLostIsSentAgain(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network)
            let (host, connection) = try await service.client()
            network.loss(0.3, from: host, to: service.host)
            network.loss(0.3, from: service.host, to: host)
            for _ in 0..<50 { try await connection.echo(String(repeating: "x", count: 10_000)) }
            #expect(network.statistics.lostPackets > 0)
            #expect(network.statistics.lostPackets < network.statistics.packets / 2)
        }
    }

    @Test(arguments: Engine.allCases) func aFrozenHostAnswersWhenItThaws(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network)
            let (_, connection) = try await service.client()
            service.host.freeze()
            try await connection.send("frozen")
            #expect(
                await failure { () throws(TransportError) in _ = try await connection.read(within: .seconds(3600)) }
                    == .timedOut)
            #expect(network.statistics.timeouts == 0)
            service.host.thaw()
            #expect(try await connection.read(within: .seconds(1)) == "frozen")
        }
    }

    @Test(arguments: Engine.allCases) func aHostThatRestartsHasForgottenItsConnections(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network)
            let (host, connection) = try await service.client()
            try await connection.echo("before")
            service.host.crash()
            try await connection.send("lost")
            #expect(
                await failure { () throws(TransportError) in _ = try await connection.read(within: .seconds(1)) }
                    == .timedOut)
            service.host.restart()
            await #expect(throws: TransportError.self) { _ = try await connection.read(within: .seconds(60)) }
            await connection.channel.closed()
            // Its programs are there, and so is their port.
            try await service.connect(from: host).echo("after")
            #expect(service.host.connections == 1)
        }
    }

    @Test(arguments: Engine.allCases) func connectionsMayBeReset(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network)
            let (one, first) = try await service.client("one")
            let (_, second) = try await service.client("two")
            try await first.echo("one")
            one.resetConnections()
            await #expect(throws: TransportError.self) { _ = try await first.read() }
            try await second.echo("two")
            #expect(one.connections == 0)
            #expect(service.host.connections == 1)
            #expect(network.statistics.resets == 2)
        }
    }

    @Test(arguments: Engine.allCases) func descriptorsMayRunOut(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network)
            let (host, connection) = try await service.client()
            let group = try host.makeGroup()
            host.limitDescriptors(to: host.openDescriptors)
            #expect(
                await failure { () throws(TransportError) in
                    _ = try await ClientBootstrap(group: group).open(host: "server", port: EchoService.port)
                } == .descriptorLimit)
            try await connection.echo("goes on")
            host.limitDescriptors(to: nil)
            _ = try await ClientBootstrap(group: group).open(host: "server", port: EchoService.port)
        }
    }

    @Test(arguments: Engine.allCases) func hostsAreFoundByTheirNames(engine: Engine) async throws {
        try await simulated(engine) { network in
            let service = try await EchoService(network, loops: 3)
            #expect(service.host.address == "10.0.0.2")
            var hosts: [SimulatedHost] = []
            for number in 0..<5 {
                let (host, connection) = try await service.client("client \(number)")
                try await connection.echo("hello from \(number)")
                #expect(await connection.channel.remoteAddress()?.description == "10.0.0.2:7000")
                hosts.append(host)
            }
            #expect(network.hosts.map(\.name) == ["server"] + hosts.map(\.name))
            #expect(
                await failure { () throws(TransportError) in
                    _ = try await ClientBootstrap(group: hosts[0].makeGroup()).open(host: "nobody", port: 1)
                } == .invalidAddress)
            #expect(
                await failure { () throws(TransportError) in
                    _ = try await ClientBootstrap(group: hosts[0].makeGroup()).open(host: "server", port: 1)
                } == .connectionRefused)
        }
    }
}
