import SwiftTransport

extension Scenario {
    static let mixtures: [Scenario] = [
        // One-shot receives (Unix) and multishot ones (TCP) take from the same memory, all in one batch of completions.
        Scenario("both kinds of socket on one loop", on: [.tcp]) { place in
            try await place.withGroup(loops: 1) { group in
                let visitors = Visitors()
                let networks: [Network] = [.unix, .tcp, .unix, .tcp, .tcp, .unix]
                var peers: [Peer] = []
                for network in networks {
                    let address = try Place(network: network, options: place.options).freshAddress()
                    let server = try await ServerBootstrap(group: group).childHandlers { [visitors.book()] }
                        .bind(to: address)
                    peers.append(try await blocking { try Peer(server, network) })
                    try await eventually("a connection") { visitors.count == peers.count }
                }
                let all = peers
                var sent = 0
                for round in 0..<300 {
                    let size = [20, 3000, 1, 17_000][round % 4]
                    // While the loop is here, everything is there before it looks.
                    await group.loops[0].run {
                        for (index, peer) in all.enumerated() {
                            try? peer.write([UInt8](repeating: UInt8(index), count: size))
                        }
                    }
                    sent += size
                    let expected = sent
                    try await eventually("round \(round)") { visitors.all.allSatisfy { $0.bytes.count == expected } }
                }
                for (index, visitor) in visitors.all.enumerated() {
                    try require(visitor.bytes.allSatisfy { $0 == UInt8(index) }, "bytes of another connection")
                }
            }
        },
        Scenario("connections that come and go") { place in
            try await place.withGroup { group in
                let server = try await ServerBootstrap(group: group).childHandlers { [Echo()] }
                    .bind(to: place.freshAddress())
                try await withThrowingTaskGroup { tasks in
                    for worker in 0..<4 {
                        tasks.addTask {
                            try await blocking {
                                for round in 0..<100 {
                                    let peer = try Peer(server, place.network)
                                    let message = pattern(1 + round * 37, seed: worker * 100 + round)
                                    try peer.write(message)
                                    try require(peer.read(message.count) == message, "a wrong echo")
                                    if round % 2 == 0 { peer.reset() } else { peer.close() }
                                }
                            }
                        }
                    }
                    try await tasks.waitForAll()
                }
                try await eventually("everything to be closed") {
                    var open: UInt64 = 0
                    for loop in group.loops { open += await loop.statistics()?.openEndpoints ?? 0 }
                    return open <= UInt64(group.loops.count)
                }
            }
        },
        Scenario("timers", on: [.tcp]) { place in
            try await place.withGroup { group in
                await withTaskGroup { tasks in
                    for index in 0..<500 {
                        tasks.addTask {
                            await withCheckedContinuation { continuation in
                                _ = group.loops[index % 2].schedule(after: .milliseconds(index % 50)) {
                                    continuation.resume()
                                }
                            }
                        }
                    }
                }
            }
        },
    ]
}
