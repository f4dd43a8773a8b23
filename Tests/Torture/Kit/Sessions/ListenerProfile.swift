import SwiftTransport

/// What all connections of a listener have in common.
struct ListenerProfile: Sendable {
    /// No library at this end.
    var isRaw = false
    var isUnix = false
    /// Served by tasks instead of handlers.
    var isTask = false
    var channel = ChannelProfile()
    var address = RawSocket.Address.tcp(port: 0)
    /// Set when the server is told to come to an end.
    let isLeaving = AtomicFlag()

    init(raw address: RawSocket.Address) {
        isRaw = true
        isUnix = address.isUnix
        self.address = address
    }

    init(_ random: inout Random, isUnix: Bool, isTask: Bool, _ habits: Habits, isStormy: Bool) {
        self.isUnix = isUnix
        self.isTask = isTask
        channel = ChannelProfile(&random, habits, isStormy: isStormy)
    }

    var summary: String {
        "\(isUnix ? "unix" : "tcp"), listener \(isRaw ? "raw" : isTask ? "tasks" : "handlers")\(channel.summary)"
    }
}

/// How a channel of the library is set up: its options and the handlers beside the one that does the work.
struct ChannelProfile: Sendable {
    /// Writes may meet the hard limit.
    var isTight = false
    var hasBackPressure = false
    var hasScrambler = false
    var meddlers = 0
    var allowsHalfClosure = false
    var isZeroCopy = false
    var options: [ChannelOption] = []
    /// What the handlers draw from: all channels of a profile the same.
    var seed: UInt64 = 0

    /// Of the client of a session.
    init(of session: Session) {
        var random = Random(session.plan.client.random.seed, session.id, 6)
        if session.plan.client.isTunnel {
            self.init()
        } else {
            self.init(&random, session.epoch.run.habits, isStormy: session.epoch.run.isStormy)
        }
        // That is for who answers: two that read only while the other does wait for each other.
        hasBackPressure = false
    }

    init() {}

    init(_ random: inout Random, _ habits: Habits, isStormy: Bool) {
        if random.oneIn(3) {
            isTight = true
            let low = random.flip() ? random.logarithmic(256, 4096) : random.logarithmic(1, 1 << 15)
            let high = low * (random.flip() ? 1 : random.between(1, 4))
            let limit = high * random.between(1, random.flip() ? 3 : 16)
            options.append(.waterMark(low: .bytes(low), high: .bytes(high), hardLimit: .bytes(limit)))
        } else {
            let low = random.logarithmic(1, 1 << 16)
            options.append(.waterMark(low: .bytes(low), high: .bytes(2 * low), hardLimit: .mebibytes(256)))
        }
        seed = random.next()
        hasBackPressure = random.oneIn(3)
        hasScrambler = random.oneIn(4)
        meddlers = random.oneIn(2) ? random.between(1, 3) : 0
        if random.oneIn(3) {
            allowsHalfClosure = true
            options.append(.allowHalfClosure(true))
        }
        isZeroCopy = random.oneIn(3)
        isZeroCopy = isZeroCopy && habits.contains(.zeroCopy)
        if isZeroCopy { options.append(.zeroCopy(from: .kibibytes(32))) }
        if random.oneIn(3) { options.append(.sendBuffer(.bytes(random.logarithmic(2048, 1 << 18)))) }
        // Not smaller: a window below a segment leaves the kernel to its persist timer, five times a second.
        if random.oneIn(4) { options.append(.receiveBuffer(.bytes(random.logarithmic(1 << 17, 1 << 20)))) }
        if random.oneIn(8) { options.append(.noDelay(false)) }
        let patience = Duration.milliseconds(random.logarithmic(50, 5000))
        if random.oneIn(3), isStormy { options.append(.userTimeout(patience)) }
        keep(habits)
    }

    /// Of `other` only who takes part, and no options but a limit that no session meets.
    init(plain other: ChannelProfile) {
        seed = other.seed
        hasScrambler = other.hasScrambler
        meddlers = other.meddlers
        isZeroCopy = other.isZeroCopy
        options = [.waterMark(low: .kibibytes(32), high: .kibibytes(64), hardLimit: .mebibytes(256))]
        if isZeroCopy { options.append(.zeroCopy(from: .kibibytes(32))) }
    }

    /// Writes that are told may be missing from the middle of a stream.
    var mayLoseWrites: Bool { isTight || hasScrambler }

    var summary: String {
        var text = isTight ? " tight" : ""
        if hasBackPressure { text += " back-pressure" }
        if hasScrambler { text += " scrambler" }
        if meddlers > 0 { text += " \(meddlers) meddlers" }
        if allowsHalfClosure { text += " half-closure" }
        return text
    }
}
