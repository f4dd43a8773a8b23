import Foundation
import NIOCore
import NIOPosix

/// An echo server as a good SwiftNIO user would write it: one thread, no copies, one flush per batch of reads.
@main
enum EchoServer {
    static func main() throws {
        let arguments = try Arguments(CommandLine.arguments)
        for number in [SIGTERM, SIGINT] {
            signal(number) { _ in _exit(0) }
        }

        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let server = try ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(EchoHandler())
                }
            }
            .bind(host: arguments.host, port: arguments.port)
            .wait()

        print("ready port=\(server.localAddress?.port ?? arguments.port) pid=\(getpid()) engine=nio")
        fflush(nil)
        try server.closeFuture.wait()
    }
}

final class EchoHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.write(data, promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
