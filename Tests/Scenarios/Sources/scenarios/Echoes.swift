import SwiftTransport

extension Scenario {
    static let echoes: [Scenario] = [
        Scenario("small messages") { place in
            try await place.withGroup { group in
                let server = try await ServerBootstrap(group: group).childHandlers { [Echo()] }
                    .bind(to: place.freshAddress())
                try await blocking {
                    let peer = try Peer(server, place.network)
                    for round in 0..<500 {
                        let message = pattern(1 + round % 200, seed: round)
                        try peer.write(message)
                        try require(peer.read(message.count) == message, "a wrong echo in round \(round)")
                    }
                }
            }
        },
        Scenario("a large stream") { place in
            try await place.withGroup { group in
                let server = try await ServerBootstrap(group: group)
                    .childHandlers { [BackPressureHandler(), Echo()] }.bind(to: place.freshAddress())
                let all = pattern(4 << 20)
                let peer = try await blocking { try Peer(server, place.network) }
                async let written: Void = blocking {
                    for start in stride(from: 0, to: all.count, by: 100_003) {
                        try peer.write(Array(all[start..<min(start + 100_003, all.count)]))
                    }
                    peer.shutdownOutput()
                }
                let echo = try await blocking { try peer.readToEnd() }
                try await written
                try require(echo == all, "\(echo.count) bytes came back, or other ones")
            }
        },
        Scenario("tasks") { place in
            try await place.withGroup { group in
                let server = try await ServerBootstrap(group: group)
                    .serve { for try await bytes in $0.inbound { try await $0.send(bytes) } }
                    .bind(to: place.freshAddress())
                for round in 0..<20 {
                    let message = pattern(1 + round * 5000, seed: round)
                    let client = try await ClientBootstrap(group: group).open(server.localAddress)
                    async let sent: Void = client.send(Buffer(message))
                    var echo: [UInt8] = []
                    for try await bytes in client.inbound {
                        echo += [UInt8](bytes)
                        if echo.count == message.count { client.channel.shutdownOutput() }
                    }
                    try await sent
                    try require(echo == message, "a wrong echo in round \(round)")
                }
            }
        },
        Scenario("many connections") { place in
            try await place.withGroup { group in
                let server = try await ServerBootstrap(group: group).childHandlers { [Echo()] }
                    .bind(to: place.freshAddress())
                try await withThrowingTaskGroup { tasks in
                    for index in 0..<300 {
                        tasks.addTask {
                            let client = try await ClientBootstrap(group: group).open(server.localAddress)
                            var input = client.inbound.makeAsyncIterator()
                            for round in 0..<5 {
                                let message = pattern(300, seed: index * 5 + round)
                                try await client.send(Buffer(message))
                                var echo: [UInt8] = []
                                while echo.count < message.count, let bytes = try await input.next() {
                                    echo += [UInt8](bytes)
                                }
                                try require(echo == message, "a wrong echo of connection \(index)")
                            }
                            await client.close()
                        }
                    }
                    try await tasks.waitForAll()
                }
            }
        },
        Scenario("writes from other threads") { place in
            try await place.withGroup { group in
                let visitors = Visitors()
                let server = try await ServerBootstrap(group: group).childHandlers { [visitors.book()] }
                    .bind(to: place.freshAddress())
                let client = try await ClientBootstrap(group: group).connect(to: server.localAddress)
                try await blocking {
                    for number in 0..<2000 { client.writeAndFlush(Buffer(pattern(20, seed: number))) }
                }
                let all = (0..<2000).flatMap { pattern(20, seed: $0) }
                try await eventually("all bytes") { visitors.all.first?.bytes.count == all.count }
                try require(visitors.all[0].bytes == all, "bytes out of order")
            }
        },
        Scenario("a file and zero-copy sends") { place in
            try await place.withGroup { group in
                let visitors = Visitors()
                let server = try await ServerBootstrap(group: group).childHandlers { [visitors.book()] }
                    .bind(to: place.freshAddress())
                let client = try await ClientBootstrap(group: group).options(.zeroCopy(from: .kibibytes(32)))
                    .connect(to: server.localAddress)
                let file = try FileRegion(path: "/proc/self/exe")
                var expected = 0
                for round in 0..<10 {
                    try await client.send(Buffer(pattern(100_000, seed: round)))
                    expected += 100_000
                }
                try await client.send(file)
                expected += file.count
                try await eventually("all bytes") { visitors.all.first?.bytes.count == expected }
                let bytes = visitors.all[0].bytes
                try require(
                    bytes.prefix(1_000_000).elementsEqual((0..<10).flatMap { pattern(100_000, seed: $0) }),
                    "wrong bytes")
                try require(
                    bytes.dropFirst(1_000_000).prefix(4).elementsEqual([0x7F, 0x45, 0x4C, 0x46]), "not the file")
            }
        },
    ]
}
