import Testing

@testable import SwiftTransport

extension Scenarios {
    /// `onClose` tells once, on the loop, when everything is over.
    struct OnCloseTests {
        /// In the order of the calls, from the loop and from elsewhere, behind the handlers.
        @Test(arguments: Place.all) func closuresAreCalledInOrder(_ place: Place) async throws {
            try await withGroup(place.engine) { group in
                let told = Watched<[String]>([])
                let log = Watched(Recording())
                let (channel, peer) = try await group.connection(place) { [RecordingHandler(log)] }
                let note: @Sendable (String) -> Void = { text in
                    let isOver = log.value.events.last == .removed && channel.eventLoop.isCurrent
                    told.update { $0.append(isOver ? text : "\(text), too early or elsewhere") }
                }
                channel.onClose { note("elsewhere") }
                try await group.turn {
                    channel.onClose { note("on the loop") }
                    channel.onClose { channel.onClose { note("from within") } }
                    #expect(told.value.isEmpty)
                    channel.close(.immediate)
                }
                try await told.wait(for: "all of them") { $0.count == 3 }
                await group.settle()
                #expect(told.value == ["elsewhere", "on the loop", "from within"])
                peer.close()
            }
        }

        /// Closed already: at once on the loop, from elsewhere soon, and at once when the loop is no more.
        @Test(arguments: Engine.allCases) func aClosedChannelCallsAtOnce(_ engine: Engine) async throws {
            let told = Watched<[String]>([])
            let channel = try await withGroup(engine) { group in
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .unix))
                channel.close(.immediate)
                await channel.closed()
                try await group.turn {
                    channel.onClose { told.update { $0.append("on the loop") } }
                    #expect(told.value == ["on the loop"])
                }
                channel.onClose { told.update { $0.append("elsewhere") } }
                try await told.wait(for: "the second") { $0.count == 2 }
                peer.close()
                return channel
            }
            channel.onClose { told.update { $0.append("without a loop") } }
            #expect(told.value == ["on the loop", "elsewhere", "without a loop"])
            await channel.closed()
        }

        /// A channel that is never closed by anybody is closed by the shutdown, and what the closure holds is let go of.
        @Test(arguments: Engine.allCases) func whatAClosureHoldsIsLetGoOf(_ engine: Engine) async throws {
            final class Thing: Sendable {}
            weak var thing: Thing?
            try await withGroup(engine) { group in
                let (channel, peer) = try await group.connection(Place(engine: engine, network: .unix))
                let held = Thing()
                thing = held
                channel.onClose { withExtendedLifetime(held) {} }
                await group.settle()
                peer.close()
            }
            #expect(thing == nil)
        }
    }
}
