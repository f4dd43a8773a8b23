import SwiftTransport

/// What a subject does with its connections.
enum Service: String {
    /// Sends back what it gets, and reads no faster than it can send.
    case echo
    /// The same, and stays open for writing when its peer has ended.
    case open
    /// Sends so many bytes of the pattern, or without end, and checks that what it gets is the pattern.
    case pump
    /// The same, with little room in the kernel, so that what a peer does not read is here.
    case trickle
    /// As `pump`, and has the kernel give up after a second in which nobody answers.
    case impatient
    /// Only checks.
    case sink

    func handlers(_ tally: Tally, _ size: Int) -> [any ChannelHandler] {
        switch self {
        case .echo, .open: [Book(tally), BackPressureHandler(), Echo()]
        case .pump, .trickle, .impatient: [Book(tally), Check(tally), Pump(tally, total: size == 0 ? .max : size)]
        case .sink: [Book(tally), Check(tally)]
        }
    }

    var options: [ChannelOption] {
        switch self {
        case .echo: []
        case .open: [.allowHalfClosure(true)]
        case .pump: [.waterMark(low: .kibibytes(8), high: .kibibytes(16)), .sendBuffer(.kibibytes(128))]
        case .trickle: [.waterMark(low: .kibibytes(8), high: .kibibytes(16)), .sendBuffer(.kibibytes(8))]
        case .impatient: Service.pump.options + [.userTimeout(.seconds(1))]
        case .sink: []
        }
    }
}

final class Echo: ChannelHandler {
    static let interests: ChannelEvents = [.read, .readComplete]
    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { context.write(bytes) }
    func channelReadComplete(_ context: ChannelContext) { context.flush() }
}

/// Counts what comes in, and compares it with the pattern.
final class Check: ChannelHandler {
    static let interests: ChannelEvents = [.read]
    private let tally: Tally
    private var position = 0

    init(_ tally: Tally) { self.tally = tally }

    func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) {
        let wrong = bytes.withUnsafeBytes { Pattern.mismatches($0, at: position) }
        position += bytes.count
        tally.add(.receivedBytes, bytes.count)
        if wrong > 0 { tally.add(.wrongBytes, wrong) }
        context.fireChannelRead(bytes)
    }
}

/// Writes whenever it may, each piece with a promise, and ends its output behind the last.
final class Pump: ChannelHandler {
    static let interests: ChannelEvents = [.active, .writabilityChanged]
    static let piece = 4096
    private let tally: Tally
    private let total: Int
    private var position = 0
    private var isPumping = false
    private var hasEnded = false

    init(_ tally: Tally, total: Int) {
        self.tally = tally
        self.total = total
    }

    func channelActive(_ context: ChannelContext) {
        pump(context)
        context.fireChannelActive()
    }

    func channelWritabilityChanged(_ context: ChannelContext) {
        pump(context)
        context.fireChannelWritabilityChanged()
    }

    // A write may change writability, and call this again.
    private func pump(_ context: ChannelContext) {
        guard !isPumping, !hasEnded else { return }
        isPumping = true
        while context.channel.isWritable, position < total, !isOver { write(context) }
        isPumping = false
        context.flush()
        guard position == total || isOver, context.channel.isActive else { return }
        hasEnded = true
        context.shutdownOutput()
    }

    private var isOver: Bool { tally.isOver.load(ordering: .relaxed) }

    private func write(_ context: ChannelContext) {
        let count = min(Pump.piece, total - position)
        tally.add(.written)
        tally.add(.writtenBytes, count)
        context.write(
            Pattern.piece(at: position, count: count),
            promise: .callback { [tally] error in tally.add(error == nil ? .sent : .failed) })
        position += count
    }
}
