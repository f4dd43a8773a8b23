import Glibc
import SwiftTransport
import Synchronization
import Testing

extension Scenarios {
    /// Bytes are never lost, repeated or reordered, whatever the sizes.
    struct ByteIntegrityTests {
        /// 1,000 connections at once, 1 B to 1 MiB each. The server checks every byte it gets before it sends it back, the
        /// client checks every byte that comes back, and both end after exactly as many as were sent.
        @Test(arguments: Place.all) func everyByteArrivesOnceAndInOrder(_ place: Place) async throws {
            let connections = 1000
            try await withGroup(place.engine, loops: 2) { servers in
                try await withGroup(place.engine) { clients in
                    let tally = Watched(Tally())
                    let server = try await ServerBootstrap(group: servers)
                        .childHandlers { [CheckingEcho(tally)] }.bind(to: place.freshAddress())
                    var sizes = SeededGenerator(seed: 42)
                    let parcels = (0..<connections).map {
                        Parcel(seed: UInt32($0), size: UInt32(sizes.logUniform(1, 1 << 20)))
                    }
                    try await withThrowingTaskGroup { connects in
                        for parcel in parcels {
                            connects.addTask {
                                _ = try await ClientBootstrap(group: clients).handlers {
                                    [CheckingSender(parcel, tally)]
                                }
                                .connect(to: server.localAddress)
                            }
                        }
                        try await connects.waitForAll()
                    }
                    let end = try await tally.wait(for: "\(connections) closed on both sides") {
                        $0.clients == connections && $0.servers == connections
                    }
                    let total = parcels.reduce(0) { $0 + Int($1.size) }
                    #expect(end.problems == [])
                    #expect(end.bytesAtServers == total)
                    #expect(end.bytesAtClients == total)
                }
            }
        }
    }
}

/// What both sides found out.
private struct Tally {
    var clients = 0
    var servers = 0
    var bytesAtClients = 0
    var bytesAtServers = 0
    var problems: [String] = []
}

/// What one connection carries. Eight bytes tell the server; those are not counted.
private struct Parcel {
    let seed: UInt32
    let size: UInt32
    var pattern: Pattern { Pattern(seed: UInt64(seed) &* 7919) }

    static let headerSize = 8
    var header: [UInt8] { withUnsafeBytes(of: (seed, size)) { [UInt8]($0) } }

    init(seed: UInt32, size: UInt32) {
        self.seed = seed
        self.size = size
    }
    init(header: [UInt8]) {
        let (seed, size) = header.withUnsafeBytes { $0.loadUnaligned(as: (UInt32, UInt32).self) }
        self.init(seed: seed, size: size)
    }
}

/// Checks a stream against its pattern, piece by piece.
private struct Checker {
    let parcel: Parcel
    private(set) var received = 0
    private(set) var isSound = true

    init(_ parcel: Parcel) { self.parcel = parcel }

    mutating func take(_ bytes: UnsafeRawBufferPointer) {
        isSound = isSound && parcel.pattern.matches(bytes, at: received)
        received += bytes.count
    }

    func problem(_ side: String) -> String? {
        if !isSound { return "\(side): connection \(parcel.seed) got wrong bytes" }
        if received != parcel.size { return "\(side): connection \(parcel.seed) got \(received) of \(parcel.size)" }
        return nil
    }
}

/// The server: reads no more than it can send, so that the echo of a megabyte is under way in both directions at once.
private final class CheckingEcho: ChannelHandler {
    private let tally: Watched<Tally>
    private var header: [UInt8] = []
    private var checker: Checker?

    init(_ tally: Watched<Tally>) { self.tally = tally }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        bytes.withUnsafeBytes { all in
            let missing = min(Parcel.headerSize - header.count, all.count)
            header += all[..<missing]
            if header.count == Parcel.headerSize, checker == nil { checker = Checker(Parcel(header: header)) }
            let body = UnsafeRawBufferPointer(rebasing: all[missing...])
            if !body.isEmpty { checker?.take(body) }
        }
        // The header goes back too: what is checked is then exactly what was lent.
        context.write(bytes)
    }
    func channelReadComplete(_ context: ChannelContext) { context.flush() }
    func channelWritabilityChanged(_ context: ChannelContext) {
        context.channel.setAutomaticReading(context.channel.isWritable)
    }
    func errorCaught(_ context: ChannelContext, _ error: any Error) {
        tally.update { $0.problems.append("server: \(error)") }
    }
    func channelInactive(_ context: ChannelContext) {
        let problem = checker.map { $0.problem("server") } ?? "server: no header"
        let received = checker?.received ?? 0
        tally.update {
            $0.servers += 1
            $0.bytesAtServers += received
            if let problem { $0.problems.append(problem) }
        }
    }
}

/// The client: sends its parcel in pieces of random size while the channel is writable, then the end of stream, and checks
/// what comes back.
private final class CheckingSender: ChannelHandler {
    private let tally: Watched<Tally>
    private let parcel: Parcel
    private var checker: Checker
    private var sizes: SeededGenerator
    private var header: [UInt8] = []
    private var sent = 0

    init(_ parcel: Parcel, _ tally: Watched<Tally>) {
        self.parcel = parcel
        self.tally = tally
        checker = Checker(parcel)
        sizes = SeededGenerator(seed: UInt64(parcel.seed))
    }

    func channelActive(_ context: ChannelContext) {
        context.write(Buffer(parcel.header))
        sendMore(context)
    }
    func channelWritabilityChanged(_ context: ChannelContext) { sendMore(context) }

    private func sendMore(_ context: ChannelContext) {
        guard sent < parcel.size else { return }
        while sent < parcel.size, context.channel.isWritable {
            let count = min(Int(parcel.size) - sent, sizes.logUniform(1, 100_000))
            context.write(Buffer(parcel.pattern.bytes(at: sent, count: count)))
            sent += count
        }
        context.flush()
        if sent == parcel.size { context.channel.shutdownOutput() }
    }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        bytes.withUnsafeBytes { all in
            let missing = min(Parcel.headerSize - header.count, all.count)
            header += all[..<missing]
            let body = UnsafeRawBufferPointer(rebasing: all[missing...])
            if !body.isEmpty { checker.take(body) }
        }
    }
    func errorCaught(_ context: ChannelContext, _ error: any Error) {
        tally.update { $0.problems.append("client: \(error)") }
    }
    func channelInactive(_ context: ChannelContext) {
        let problem = header == parcel.header ? checker.problem("client") : "client: the header came back as \(header)"
        let received = checker.received
        tally.update {
            $0.clients += 1
            $0.bytesAtClients += received
            if let problem { $0.problems.append(problem) }
        }
    }
}
