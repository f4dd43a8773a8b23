import SwiftTransport

/// Reads and forgets what the measured processes send. It is the library's own work, but not in their process.
struct Drain {
    private let group: EventLoopGroup
    private let server: ServerChannel

    var port: UInt16 { server.localAddress.port }

    static func start(processor: Int?) async throws -> Drain {
        var options = LoopOptions()
        options.cpus = processor.map { [$0] } ?? []
        let group = try EventLoopGroup(loops: 1, options: options)
        return Drain(group: group, server: try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0))
    }

    func stop() async {
        await group.shutdown(within: .zero)
    }
}
