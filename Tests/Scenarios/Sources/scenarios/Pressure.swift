import SwiftTransport

extension Scenario {
    static let pressure: [Scenario] = [
        Scenario("a peer that does not read its echo") { place in
            try await place.withGroup { group in
                let visitors = Visitors()
                let server = try await ServerBootstrap(group: group)
                    .childHandlers { [visitors.book(), BackPressureHandler(), Echo()] }.bind(to: place.freshAddress())
                let peer = try await blocking { try Peer(server, place.network, receiveBuffer: 32768) }
                try await eventually("a connection") { visitors.count == 1 }
                let channel = visitors.all[0].channel
                let piece = pattern(50_000)
                var written = 0
                // Until nothing moves: the server reads no more than it can send.
                try await eventually("the echo to stop") {
                    let count = peer.writeWhatFits(Array(piece[(written % piece.count)...]))
                    written += count
                    try require(written < 64 << 20, "the server takes without end")
                    return count == 0 && !channel.isWritable
                }
                peer.shutdownOutput()
                let echo = try await blocking { try peer.readToEnd() }
                try require(echo.count == written, "\(echo.count) of \(written) bytes")
                for start in stride(from: 0, to: echo.count, by: piece.count) {
                    let part = echo[start..<min(start + piece.count, echo.count)]
                    try require(part.elementsEqual(piece.prefix(part.count)), "wrong bytes from \(start) on")
                }
            }
        },
        Scenario("sends to a slow reader") { place in
            try await place.withGroup { group in
                let visitors = Visitors()
                let server = try await ServerBootstrap(group: group).childHandlers { [visitors.book()] }
                    .bind(to: place.freshAddress())
                let peer = try await blocking { try Peer(server, place.network, receiveBuffer: 32768) }
                try await eventually("a connection") { visitors.count == 1 }
                let channel = visitors.all[0].channel
                let all = pattern(200_000)
                async let read = blocking { try (0..<20).map { _ in try peer.read(all.count) == all } }
                for _ in 0..<20 { try await channel.send(Buffer(all)) }
                try require(await read.allSatisfy { $0 }, "wrong bytes")
            }
        },
        Scenario("little receive memory for many") { place in
            var options = place.options
            options.receiveBudget = .mebibytes(1)
            try await place.withGroup(loops: 1, options: options) { group in
                let server = try await ServerBootstrap(group: group)
                    .childHandlers { [BackPressureHandler(), Echo()] }.bind(to: place.freshAddress())
                try await withThrowingTaskGroup { tasks in
                    for index in 0..<24 {
                        tasks.addTask {
                            try await blocking {
                                let peer = try Peer(server, place.network)
                                for round in 0..<5 {
                                    let message = pattern(40_000, seed: index * 5 + round)
                                    try peer.write(message)
                                    try require(peer.read(message.count) == message, "a wrong echo")
                                }
                            }
                        }
                    }
                    try await tasks.waitForAll()
                }
            }
        },
        Scenario("reading off and on") { place in
            try await place.withGroup { group in
                let visitors = Visitors()
                let server = try await ServerBootstrap(group: group).childHandlers { [visitors.book()] }
                    .bind(to: place.freshAddress())
                let peer = try await blocking { try Peer(server, place.network) }
                try await eventually("a connection") { visitors.count == 1 }
                let channel = visitors.all[0].channel
                for round in 1...100 {
                    await channel.eventLoop.run { channel.setAutomaticReading(false) }
                    try await blocking { try peer.write(pattern(1000, seed: round)) }
                    await channel.eventLoop.run { channel.setAutomaticReading(true) }
                    try await eventually("round \(round)") { visitors.all[0].bytes.count == 1000 * round }
                }
                try require(visitors.all[0].bytes == (1...100).flatMap { pattern(1000, seed: $0) }, "wrong bytes")
            }
        },
    ]
}
