import SwiftTransport

/// The two ends of a session.
enum Side: Int, Sendable {
    /// Who connects.
    case client = 0
    /// Who accepts.
    case server = 1

    var other: Side { self == .client ? .server : .client }
}

/// What a session is to do, drawn from the run's seed and the session's number.
struct Plan: Sendable {
    /// Who uses the library; the other end is a bare socket.
    enum Shape: CaseIterable { case server, client, both }

    /// How the client finds the server.
    enum Way { case address, mapped, name }

    let shape: Shape
    let way: Way
    /// Which of the listeners it is for, modulo their number.
    let listener: Int
    private(set) var client: EndPlan
    private(set) var server: EndPlan

    init(seed: UInt64, id: UInt64, in setting: Setting, _ habits: Habits) {
        var random = Random(seed, id, 1)
        let drawn = Shape.allCases[random.below(3)]
        // A simulated network has no bare sockets.
        shape = setting.isSimulated ? .both : drawn
        listener = Int(random.next() >> 33)
        let choice = random.below(8)
        way = !setting.isSimulated ? .address : choice == 0 ? .mapped : choice < 3 ? .name : .address
        // Most sessions are small, some are large: what is rare is tried often, and queues fill all the same.
        let scale = random.oneIn(12) ? 1 << 20 : random.oneIn(3) ? 1 << 16 : 1 << 12
        let ender = random.below(5)
        client = EndPlan(&random, isEnder: ender < 2 || ender == 4, scale: scale)
        server = EndPlan(&random, isEnder: ender >= 2, scale: scale)
        client.keep(habits)
        server.keep(habits)
    }

    subscript(side: Side) -> EndPlan { side == .client ? client : server }

    /// A connection that lives as long as its group and carries what others forward to it.
    static func tunnel(seed: UInt64, id: UInt64) -> Plan { Plan(tunnel: seed, id) }

    private init(tunnel seed: UInt64, _ id: UInt64) {
        var random = Random(seed, id, 2)
        shape = .client
        way = .address
        listener = 0
        client = EndPlan(tunnel: &random, isEnder: true)
        server = EndPlan(tunnel: &random, isEnder: false)
    }
}

/// What one end of a session is to do.
struct EndPlan: Sendable {
    /// How an end that ends the session does it.
    enum Ending: CaseIterable {
        case drain, shutdownOutput, immediate, reset, cutOff, drainThenImmediate, drainThenReset, offLoop
    }

    let random: Random
    /// Ends the session when it is done; the other kind follows.
    let isEnder: Bool
    /// Things it does.
    let steps: Int
    var largest: Int
    var ending: Ending
    /// Tasks and threads that write beside the handlers.
    var lanes: Int
    /// Ends without waiting for them.
    let endsInTheMiddle: Bool
    /// Sends back what it gets.
    var isEcho: Bool
    /// One step in so many is a sudden end; 0: none.
    var suddenEnd: Int
    /// For ends of the library that connect: by tasks instead of handlers.
    let isTask: Bool
    let isTunnel: Bool
    /// Switches reading off and on all the time.
    let pausesOften: Bool

    init(_ random: inout Random, isEnder: Bool, scale: Int) {
        self.random = Random(random.next())
        self.isEnder = isEnder
        steps = random.logarithmic(1, 40)
        largest = scale
        ending = random.oneIn(2) ? .drain : Ending.allCases[random.below(Ending.allCases.count)]
        lanes = random.oneIn(3) ? random.between(1, 3) : 0
        endsInTheMiddle = random.oneIn(3)
        isEcho = random.oneIn(4)
        suddenEnd = random.oneIn(6) ? 30 : 0
        isTask = random.oneIn(3)
        isTunnel = false
        pausesOften = random.oneIn(4)
    }

    fileprivate init(tunnel random: inout Random, isEnder: Bool) {
        self.random = Random(random.next())
        self.isEnder = isEnder
        steps = 0
        largest = 4096
        ending = .drain
        lanes = 3
        endsInTheMiddle = false
        isEcho = false
        suddenEnd = 0
        isTask = false
        isTunnel = true
        pausesOften = false
    }
}
