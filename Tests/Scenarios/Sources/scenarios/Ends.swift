import Glibc
import SwiftTransport

extension Scenario {
    static let ends: [Scenario] = [
        Scenario("half close, answered behind the end") { place in
            try await place.withGroup { group in
                let server = try await ServerBootstrap(group: group)
                    .serve { connection in
                        var count = 0
                        for try await bytes in connection.inbound { count += bytes.count }
                        try await connection.send(Buffer("\(count)"))
                    }
                    .bind(to: place.freshAddress())
                try await blocking {
                    for size in [0, 1, 70_000, 300_000] {
                        let peer = try Peer(server, place.network)
                        try peer.write(pattern(size))
                        peer.shutdownOutput()
                        try require(peer.readToEnd() == Array("\(size)".utf8), "\(size) bytes were not counted")
                    }
                }
            }
        },
        Scenario("end of stream right behind data") { place in
            try await place.withServer { server, visitors in
                for round in 1...200 {
                    let isWarm = round % 2 == 0
                    let peer = try await blocking { try Peer(server, place.network) }
                    if isWarm {
                        try await blocking { try peer.write([1]) }
                        try await eventually("the first byte of connection \(round)") {
                            visitors.count == round && visitors.all[round - 1].bytes == [1]
                        }
                    }
                    try await blocking {
                        try peer.write(pattern(99, seed: round))
                        peer.close()
                    }
                    try await eventually("the end of connection \(round)") {
                        visitors.count == round && visitors.open == 0
                    }
                    let visitor = visitors.all[round - 1]
                    try require(visitor.inputClosed && visitor.error == nil, "an end that is none: \(visitor)")
                    try require(visitor.bytes == (isWarm ? [1] : []) + pattern(99, seed: round), "wrong bytes")
                }
            }
        },
        Scenario("data followed by a reset", on: [.tcp]) { place in
            try await place.withServer { server, visitors in
                for round in 1...200 {
                    let peer = try await blocking { try Peer(server, place.network) }
                    // Once around: the receive has been armed for some time.
                    for _ in 0..<(round % 3) {
                        try await blocking { try peer.write([1]) }
                        try await eventually("a byte") { visitors.all.last?.bytes.isEmpty == false }
                    }
                    try await eventually("connection \(round)") { visitors.count == round }
                    // Both are there when the loop looks.
                    await visitors.all[round - 1].channel.eventLoop.run {
                        try? peer.write(pattern(100))
                        peer.reset()
                    }
                    try await eventually("the end of connection \(round)") { visitors.open == 0 }
                    try require(visitors.all[round - 1].error == .connectionLost, "the reset was not told")
                }
            }
        },
        Scenario("data, and our own close at once") { place in
            try await place.withServer { server, visitors in
                for round in 1...200 {
                    let peer = try await blocking { try Peer(server, place.network) }
                    try await eventually("connection \(round)") { visitors.count == round }
                    if round % 2 == 0 {
                        try await blocking { try peer.write([1]) }
                        try await eventually("a byte") { visitors.all[round - 1].bytes == [1] }
                    }
                    let channel = visitors.all[round - 1].channel
                    let mode: CloseMode = [.immediate, .reset, .drain(within: .seconds(5))][round % 3]
                    await channel.eventLoop.run {
                        try? peer.write(pattern(100))
                        channel.close(mode)
                    }
                    peer.shutdownOutput()
                    try await eventually("the end of connection \(round)") { visitors.open == 0 }
                }
            }
        },
        Scenario("a graceful close delivers what is queued") { place in
            try await place.withServer { server, visitors in
                let peer = try await blocking { try Peer(server, place.network) }
                try await eventually("a connection") { visitors.count == 1 }
                let channel = visitors.all[0].channel
                let all = pattern(600_000)
                await channel.eventLoop.run {
                    channel.write(Buffer(all))
                    channel.close(.drain(within: .seconds(20)))
                }
                let read = try await blocking { try peer.readToEnd() }
                try require(read == all, "\(read.count) of \(all.count) bytes")
                peer.close()
                await channel.closed()
            }
        },
        Scenario("a reset of ours", on: [.tcp]) { place in
            try await place.withServer { server, visitors in
                let peer = try await blocking { try Peer(server, place.network) }
                try await eventually("a connection") { visitors.count == 1 }
                visitors.all[0].channel.close(.reset)
                let end = await Result { try await blocking { try peer.readToEnd() } }
                guard case .failure(let error) = end, error is Peer.Reset else {
                    throw Wrong(description: "the peer did not see a reset: \(end)")
                }
                await visitors.all[0].channel.closed()
            }
        },
        Scenario("connects that are refused") { place in
            try await place.withGroup { group in
                let server = try await ServerBootstrap(group: group).bind(to: place.freshAddress())
                server.close()
                await server.closed()
                for _ in 0..<20 {
                    do {
                        _ = try await ClientBootstrap(group: group).connect(to: server.localAddress)
                        throw Wrong(description: "connected to nobody")
                    } catch let error as TransportError {
                        try require(error.code == .connectionRefused, "\(error)")
                    }
                }
            }
        },
        Scenario("shutdown with connections open") { place in
            let group = try EventLoopGroup(loops: 2, options: place.options)
            let server = try await ServerBootstrap(group: group).childHandlers { [Echo()] }.bind(
                to: place.freshAddress())
            let peers = try await blocking {
                let peers = try (0..<50).map { _ in try Peer(server, place.network) }
                for peer in peers {
                    try peer.write([1, 2, 3])
                    try require(peer.read(3) == [1, 2, 3], "a wrong echo")
                }
                return peers
            }
            async let report = group.shutdown(within: .seconds(20))
            try await blocking {
                for peer in peers {
                    try require(peer.readToEnd() == [], "bytes of nobody")
                    peer.close()
                }
            }
            try require(await report.isComplete, "channels were cut off")
        },
    ]
}

extension Place {
    /// A server on one loop whose connections are noted.
    fileprivate func withServer(_ body: (ServerChannel, Visitors) async throws -> Void) async throws {
        try await withGroup(loops: 1) { group in
            let visitors = Visitors()
            let server = try await ServerBootstrap(group: group).childHandlers { [visitors.book()] }
                .bind(to: freshAddress())
            try await body(server, visitors)
        }
    }
}

extension Result where Failure == any Error {
    fileprivate init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
