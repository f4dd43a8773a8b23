import Testing

@testable import SwiftTransport

extension Scenarios {
    /// Channels that are spoken to together.
    struct ChannelGroupTests {
        /// A group of channels on all loops, and the sockets at their other ends.
        private static func members(
            _ count: Int, of group: EventLoopGroup, _ place: Place, _ options: ChannelOption...,
            handlers: @escaping @Sendable () -> sending [any ChannelHandler] = { [] }
        ) async throws -> (room: ChannelGroup, channels: [Channel], peers: [RawSocket]) {
            let room = ChannelGroup()
            var bootstrap = ServerBootstrap(group: group)
            for option in options { bootstrap = bootstrap.childOptions(option) }
            let accepted = Accepted([])
            let server = try await bootstrap.childHandlers { handlers() + [Announcer(accepted)] }
                .bind(to: place.freshAddress())
            var peers: [RawSocket] = []
            for index in 0..<count {
                peers.append(try await blocking { try RawSocket.connect(to: server.localAddress) })
                try await accepted.wait(for: "a member") { $0.count > index }
            }
            for channel in accepted.value { #expect(room.add(channel)) }
            server.close()
            return (room, accepted.value, peers)
        }

        /// Everybody gets everything, in its order, from whatever thread; on the loop of some members too.
        @Test(arguments: Place.all, [true, false]) func everybodyGetsIt(_ place: Place, _ onLoop: Bool) async throws {
            try await withGroup(place.engine, loops: 2) { group in
                let (room, _, peers) = try await Self.members(6, of: group, place)
                #expect(room.count == 6)
                let speak: @Sendable () -> Void = {
                    for number in 0..<100 {
                        let line = Buffer("\(number)\n")
                        if number % 2 == 0 { room.write(line) } else { room.writeAndFlush(line) }
                    }
                    room.write("end")
                    room.flush()
                }
                if onLoop { try await group.turn(speak) } else { speak() }
                let expected = (0..<100).map { "\($0)\n" }.joined() + "end"
                for peer in peers {
                    let bytes = try await blocking { try peer.read(expected.utf8.count) }
                    #expect(String(decoding: bytes, as: UTF8.self) == expected)
                }
                room.close(.immediate)
                await room.closed()
                for peer in peers { peer.close() }
            }
        }

        /// A member that closes leaves; the last one out ends the wait, and closing an empty group is nothing.
        @Test(arguments: Place.all) func whoClosesLeaves(_ place: Place) async throws {
            try await withGroup(place.engine, loops: 2) { group in
                let (room, channels, peers) = try await Self.members(4, of: group, place)
                #expect(!room.add(channels[0]) && room.count == 4)
                peers[0].close()
                await channels[0].closed()
                try await eventually("one to leave") { room.count == 3 }
                #expect(!room.contains(channels[0]) && room.contains(channels[1]))
                #expect(room.remove(channels[1]) && !room.remove(channels[1]))
                // Closed already: it does not stay.
                room.add(channels[0])
                try await eventually("it to leave again") { room.count == 2 }
                room.close(.immediate)
                await room.closed()
                #expect(room.channels.isEmpty)
                await room.closed()
                room.close(.immediate)
                room.writeAndFlush("nobody")
                #expect(channels[1].isActive)
                channels[1].close()
                for peer in peers { peer.close() }
            }
        }

        /// A channel leaves all the groups it is in when it closes, and coming and going leaves nothing behind: not in the channel, and
        /// not of a group that is gone.
        @Test(arguments: Place.all) func whoClosesLeavesAllItsGroups(_ place: Place) async throws {
            try await withGroup(place.engine, loops: 2) { group in
                let (room, channels, peers) = try await Self.members(2, of: group, place)
                let others = (0..<3).map { _ in ChannelGroup() }
                for round in 0..<100 {
                    let gone = ChannelGroup()
                    for group in others + [gone] {
                        #expect(channels[0].eventLoop.isCurrent == false && group.add(channels[0]))
                    }
                    if round < 99 { for group in others { #expect(group.remove(channels[0])) } }
                }
                let kept = await channels[0].eventLoop.run { channels[0].own.groups?.count ?? 0 }
                #expect(kept.map { (4...5).contains($0) } == true)
                peers[0].close()
                await channels[0].closed()
                for group in others { try await eventually("everybody to have left") { group.count == 0 } }
                try await eventually("one to have left") { room.channels.count == 1 }
                room.close(.immediate)
                await room.closed()
                for peer in peers { peer.close() }
            }
        }

        /// A condition is asked on the loop of each, and leaves some out.
        @Test(arguments: Place.all) func someAreLeftOut(_ place: Place) async throws {
            try await withGroup(place.engine, loops: 2) { group in
                let (room, channels, peers) = try await Self.members(3, of: group, place)
                let sender = channels[1]
                room.writeAndFlush("hello", where: { $0 !== sender && $0.eventLoop.isCurrent })
                room.writeAndFlush("!")
                let heard = try await blocking { try [peers[0].read(6), peers[1].read(1), peers[2].read(6)] }
                #expect(heard.map { String(decoding: $0, as: UTF8.self) } == ["hello!", "!", "hello!"])
                room.close(.immediate)
                await room.closed()
                for peer in peers { peer.close() }
            }
        }

        /// Messages go through the handlers of each.
        @Test(arguments: Engine.allCases) func messagesGoThroughTheHandlersOfEach(_ engine: Engine) async throws {
            final class Numbers: ChannelHandler {
                static let interests: ChannelEvents = [.write]
                func write(_ context: ChannelContext, message: any Sendable, promise: consuming WritePromise) {
                    context.write("<\(message)>", promise: promise)
                }
            }
            try await withGroup(engine) { group in
                let place = Place(engine: engine, network: .unix)
                let (room, _, peers) = try await Self.members(2, of: group, place) { [Numbers()] }
                room.write(message: 1)
                room.writeAndFlush(message: 2)
                for peer in peers { #expect(try await blocking { try peer.read(6) } == Array("<1><2>".utf8)) }
                room.close(.immediate)
                await room.closed()
                for peer in peers { peer.close() }
            }
        }

        /// Who reads nothing is closed at its limit, and leaves; the others miss nothing.
        @Test(arguments: Place.all) func aSlowMemberLeaves(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let marks = WaterMark(low: 1000, high: 2000, hardLimit: .kibibytes(64))
                let (room, channels, peers) = try await Self.members(
                    2, of: group, place, .sendBuffer(4096), .waterMark(marks))
                let line = Buffer([UInt8](repeating: 7, count: 10_000))
                let total = 60
                let read = Watched(0)
                startThread {
                    let bytes = (try? peers[1].read(total * line.count)) ?? []
                    read.update { $0 = bytes.count }
                }
                for _ in 0..<total {
                    room.writeAndFlush(line)
                    await group.settle()
                    try await eventually("the reader to follow") { channels[1].pendingBytes < 20_000 }
                }
                try await read.wait(for: "all of it") { $0 == total * line.count }
                peers[0].close()
                await channels[0].closed()
                try await eventually("the slow one to leave") { !room.contains(channels[0]) }
                #expect(room.contains(channels[1]))
                room.close(.immediate)
                await room.closed()
                peers[1].close()
            }
        }

        /// A group is not kept alive by its members.
        @Test(arguments: Engine.allCases) func aGroupIsNotKeptByItsMembers(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                weak var gone: ChannelGroup?
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .unix))
                do {
                    let room = ChannelGroup()
                    gone = room
                    room.add(channel)
                }
                await group.settle()
                #expect(gone == nil)
                peer.close()
                await channel.closed()
            }
        }
    }
}
