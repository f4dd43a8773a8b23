import Glibc
import Testing

@testable import SwiftTransport

extension Scenarios {
    /// Handlers that are taken out while an event is on its way through them: none sees anything after `handlerRemoved`, and
    /// what it passes on itself still arrives.
    struct RemovalTests {
        /// Who takes out whom, from within the event that `first` has in its hands.
        enum Removal: CaseIterable, Sendable {
            case itselfThenTheNext, theNextThenItself, byTheNext, byTheNextTheOtherWay
        }

        /// The handler behind (outwards: before) one that leaves leaves with it.
        @Test(arguments: Engine.allCases, Signal.allCases)
        func aHandlerMayLeaveWithItsPredecessor(_ engine: Engine, _ signal: Signal) async throws {
            for removal in Removal.allCases {
                try await withGroup(engine) { group in
                    let stations = try await Line(group, ["first", "second", "last"], signal)
                    let (first, second) = (stations["first"], stations["second"])
                    switch removal {
                    case .itselfThenTheNext: first.onSignal = { leave(first, second) }
                    case .theNextThenItself: first.onSignal = { leave(second, first) }
                    case .byTheNext: second.onSignal = { leave(first, second) }
                    case .byTheNextTheOtherWay: second.onSignal = { leave(second, first) }
                    }
                    // Passed on a second time by one that has left already, in the same call.
                    first.afterSignal = { [unowned first] in first.pass(signal) }
                    try await stations.drive()
                    let seen = stations.log.value
                    let mark = "\(signal)"
                    switch removal {
                    case .itselfThenTheNext, .theNextThenItself:
                        #expect(Set(seen.prefix(3)) == ["first \(mark)", "first removed", "second removed"])
                    case .byTheNext, .byTheNextTheOtherWay:
                        #expect(seen.prefix(2) == ["first \(mark)", "second \(mark)"])
                        #expect(Set(seen[2...3]) == ["first removed", "second removed"])
                    }
                    let rest = seen.filter { $0.hasPrefix("last ") }
                    #expect(rest == ["last \(mark)", "last \(mark)"], "\(removal): \(seen)")
                    #expect(seen.count == rest.count + (seen.contains("second \(mark)") ? 4 : 3), "\(removal): \(seen)")
                }
            }
        }

        /// One that leaves and comes back, from within the event: it has a new place, and the event reaches it there once more
        /// if that is still ahead.
        @Test(arguments: Engine.allCases) func aHandlerMayComeBack(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let stations = try await Line(group, ["first", "second"], .userEvent)
                let first = stations["first"]
                first.onSignal = { [unowned first] in
                    first.onSignal = nil
                    let channel = first.context!.channel
                    first.leave()
                    channel.pipeline.addLast(first)
                }
                try await stations.drive()
                #expect(
                    stations.log.value == [
                        "first userEvent", "first removed", "first added", "second userEvent", "first userEvent",
                    ])
                try await stations.drive()
                #expect(stations.log.value.suffix(2) == ["second userEvent", "first userEvent"])
            }
        }

        /// One that is taken out while it is being taken out, or from `handlerAdded`, is told once.
        @Test(arguments: Engine.allCases) func aHandlerIsToldOnceThatItLeft(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let stations = try await Line(group, ["first", "second", "last"], .userEvent)
                let (first, second) = (stations["first"], stations["second"])
                first.onRemoved = {
                    second.leave()
                    first.leave()
                }
                second.onRemoved = { leave(first, second) }
                first.onSignal = { first.leave() }
                try await stations.drive()
                #expect(
                    stations.log.value == ["first userEvent", "first removed", "second removed", "last userEvent"])
                let brief = Station("brief", stations.log)
                brief.onAdded = { [unowned brief] in brief.leave() }
                let channel = stations["last"].context!.channel
                try await group.turn { channel.pipeline.addFirst(brief) }
                try await stations.drive()
                #expect(stations.log.value.suffix(3) == ["brief added", "brief removed", "last userEvent"])
                first.onRemoved = nil
                second.onRemoved = nil
                first.onSignal = nil
            }
        }

        /// Handlers that take others out when they are freed, which is when their turn is over: these leave and are freed too.
        @Test(arguments: Engine.allCases) func aHandlerThatIsFreedMayRemoveOthers(_ engine: Engine) async throws {
            try await withGroup(engine) { group in
                let stations = try await Line(group, ["first", "last"], .userEvent)
                let (freed, channel, log) = (Watched(0), stations["first"].context!.channel, stations.log)
                try await group.turn {
                    var next: Domino?
                    for _ in 0..<5 {
                        let domino = Domino(next, freed)
                        channel.pipeline.addFirst(domino)
                        next = domino
                    }
                    next?.leave()
                }
                try await freed.wait(for: "all of them to be freed") { $0 == 5 }
                try await stations.drive()
                #expect(log.value == ["first userEvent", "last userEvent"])
            }
        }

        /// One that writes when its turn is over has no place any more: it writes as the channel does, and what it writes
        /// passes all handlers. (A handler that encrypts must not be passed by.) So does a shutdown that it had held up.
        @Test(arguments: Engine.allCases, [Signal.write, .file, .message, .flush, .close, .shutdown])
        func whatItWritesLaterPassesAllHandlers(_ engine: Engine, _ signal: Signal) async throws {
            try await withGroup(engine) { group in
                let stations = try await Line(group, ["leaver", "last"], signal)
                let leaver = stations["leaver"]
                try await group.turn { leaver.leave() }
                await group.settle()
                try await group.turn { leaver.pass(signal) }
                #expect(stations.log.value == ["leaver removed", "last \(signal)"])
            }
        }
    }
}

private func leave(_ stations: Station...) { for station in stations { station.leave() } }

/// Everything that goes through a pipeline.
enum Signal: CaseIterable, Sendable {
    case active, read, readComplete, writability, inputClosed, error, userEvent, shutdown, inactive
    case write, file, message, flush, close

    var isOutbound: Bool { Self.allCases.firstIndex(of: self)! >= Self.allCases.firstIndex(of: .write)! }
}

/// A channel with stations in the order in which the signal gets to them.
private struct Line: Sendable {
    private let group: EventLoopGroup
    private let stations: [Station]
    private let driver: Station
    private let signal: Signal
    private let peer: RawSocket
    let log = Watched<[String]>([])

    init(_ group: EventLoopGroup, _ names: [String], _ signal: Signal) async throws {
        let log = log
        let stations = names.map { Station($0, log) }
        let driver = Station("driver", Watched([]))
        let order = signal.isOutbound ? stations.reversed() + [driver] : [driver] + stations
        (_, peer) = try await group.connection(Place(engine: group.loops[0].engine, network: .unix)) { order }
        // The loop is on its way back from having told that the channel is active.
        await group.settle()
        log.update { $0 = [] }
        (self.group, self.stations, self.driver, self.signal) = (group, stations, driver, signal)
    }

    subscript(name: String) -> Station { stations.first { $0.name == name }! }

    /// Sends the signal, in one turn.
    func drive() async throws {
        let (driver, signal) = (driver, signal)
        try await group.turn { driver.pass(signal) }
    }
}

/// Writes down what it sees, does what the test asks for, and passes on.
private final class Station: ChannelHandler, @unchecked Sendable {
    let name: String
    private let log: Watched<[String]>
    // The loop's, or set before anything happens.
    private(set) var context: ChannelContext?
    var onAdded: (() -> Void)?
    var onRemoved: (() -> Void)?
    var onSignal: (() -> Void)?
    var afterSignal: (() -> Void)?

    init(_ name: String, _ log: Watched<[String]>) {
        self.name = name
        self.log = log
    }

    /// A byte of this program.
    private static let file = try! FileRegion(descriptor: open("/proc/self/exe", O_RDONLY), offset: 0, count: 1)

    func leave() { if let context { context.channel.pipeline.remove(context) } }

    func pass(_ signal: Signal) {
        guard let context else { return }
        switch signal {
        case .active: context.fireChannelActive()
        case .read: context.fireChannelRead(Buffer("x"))
        case .readComplete: context.fireChannelReadComplete()
        case .writability: context.fireChannelWritabilityChanged()
        case .inputClosed: context.fireInputClosed()
        case .error: context.fireErrorCaught(TransportError(.timedOut))
        case .userEvent: context.fireUserEvent("x")
        case .shutdown: context.fireShutdownBegan()
        case .inactive: context.fireChannelInactive()
        case .write: context.write(Buffer("x"))
        case .file: context.write(Self.file)
        case .message: context.write(message: "x", promise: .callback { _ in })
        case .flush: context.flush()
        case .close: context.close()
        }
    }

    private func saw(_ signal: Signal, _ context: ChannelContext, _ pass: (ChannelContext) -> Void) {
        log.update { $0.append("\(name) \(signal)") }
        onSignal?()
        pass(context)
        afterSignal?()
    }

    func handlerAdded(_ context: ChannelContext) {
        self.context = context
        log.update { $0.append("\(name) added") }
        onAdded?()
    }
    func handlerRemoved(_ context: ChannelContext) {
        log.update { $0.append("\(name) removed") }
        onRemoved?()
    }
    func channelActive(_ context: ChannelContext) { saw(.active, context) { $0.fireChannelActive() } }
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        let buffer = Buffer(bytes)
        saw(.read, context) { $0.fireChannelRead(buffer) }
    }
    func channelReadComplete(_ context: ChannelContext) { saw(.readComplete, context) { $0.fireChannelReadComplete() } }
    func channelWritabilityChanged(_ context: ChannelContext) {
        saw(.writability, context) { $0.fireChannelWritabilityChanged() }
    }
    func inputClosed(_ context: ChannelContext) { saw(.inputClosed, context) { $0.fireInputClosed() } }
    func errorCaught(_ context: ChannelContext, _ error: any Error) {
        saw(.error, context) { $0.fireErrorCaught(error) }
    }
    func userEvent(_ context: ChannelContext, _ event: any Sendable) {
        saw(.userEvent, context) { $0.fireUserEvent(event) }
    }
    func shutdownBegan(_ context: ChannelContext) { saw(.shutdown, context) { $0.fireShutdownBegan() } }
    func channelInactive(_ context: ChannelContext) { saw(.inactive, context) { $0.fireChannelInactive() } }
    func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
        saw(.write, context) { $0.write(bytes) }
    }
    func write(_ context: ChannelContext, _ file: FileRegion, promise: consuming WritePromise) {
        saw(.file, context) { $0.write(file) }
    }
    func write(_ context: ChannelContext, message: any Sendable, promise: consuming WritePromise) {
        saw(.message, context) { $0.write(message: message, promise: .callback { _ in }) }
    }
    func flush(_ context: ChannelContext) { saw(.flush, context) { $0.flush() } }
    func close(_ context: ChannelContext, _ mode: CloseMode) { saw(.close, context) { $0.close(mode) } }
}

/// Takes out the one before it when it is freed.
private final class Domino: ChannelHandler, @unchecked Sendable {
    private var next: Domino?
    private var context: ChannelContext?
    private let freed: Watched<Int>
    init(_ next: Domino?, _ freed: Watched<Int>) {
        self.next = next
        self.freed = freed
    }
    deinit {
        next?.leave()
        freed.update { $0 += 1 }
    }
    func handlerAdded(_ context: ChannelContext) { self.context = context }
    func handlerRemoved(_ context: ChannelContext) { self.context = nil }
    func leave() { if let context { context.channel.pipeline.remove(context) } }
}
