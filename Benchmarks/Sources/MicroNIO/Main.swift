import Glibc
import MicroKit
import NIOCore
import NIOPosix

/// `micro-nio PORT SECONDS`: the cost of a write with a promise in SwiftNIO, sent to whoever listens there and reads.
@main
enum Main {
    static func main() throws {
        let arguments = CommandLine.arguments.dropFirst()
        guard arguments.count == 2, let port = arguments.first.flatMap({ Int($0) }),
            let seconds = arguments.last.flatMap({ Double($0) })
        else { throw UsageError() }

        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        for batch in [32, 1] {
            let writer = Writer(batch: batch, seconds: seconds)
            let channel = try ClientBootstrap(group: group)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(writer) }
                }
                .connect(host: "127.0.0.1", port: port)
                .wait()
            print(try writer.figure(on: channel.eventLoop).wait().line)
            try channel.close().wait()
        }
        try group.syncShutdownGracefully()
    }
}

struct UsageError: Error, CustomStringConvertible {
    let description = "usage: micro-nio PORT SECONDS"
}
