import Glibc
import SwiftTransport
import Synchronization

/// Everything that happens on one engine, from the first session to the last line.
final class Run: @unchecked Sendable {
    private struct Books {
        var sessions: [UInt64: Session] = [:]
        /// How often a session has been found hanging.
        var hanging: [UInt64: Int] = [:]
        var nextID: UInt64 = 1
        var finished = 0
        /// What goes on beside the sessions, and since when.
        var tickets: [Int: (what: String, since: UInt64)] = [:]
        var nextTicket = 0
        var bytes = 0

        /// The next session is one of these.
        mutating func skip(_ only: [UInt64]?) {
            guard let only else { return }
            while !only.contains(nextID), let last = only.max(), nextID <= last { nextID += 1 }
            if nextID > only.max() ?? 0 { nextID = .max }
        }
    }

    /// Groups that exist at a time, each with its share of the sessions.
    private static let groupsAtATime = 2

    let engine: Engine
    let options: Options
    let setting: Setting
    /// Connections may end without anybody's doing.
    let isStormy: Bool
    /// A reset may never arrive: then the other side waits for ever, as it would in the world.
    let losesPackets: Bool
    /// A write that has to be brought to another thread may be refused for want of memory, there and then.
    let refusesMemory: Bool
    /// The kernel may have no memory for a receive: then a channel ends though neither side asked for it.
    let endsByItself: Bool
    /// The kernel may forget to say what became of a send.
    let losesCompletions: Bool
    /// Nothing holds the programs up: what is to happen at a time happens then.
    let hasTrueTime: Bool
    /// What else there is to the sessions.
    let habits: Habits
    let report: Report
    private let books = Mutex(Books())
    private let deadline = Atomic<UInt64>(.max)
    private(set) var rawListeners: [ListenerProfile] = []
    private var rawDriver: RawDriver?
    var driver: RawDriver { rawDriver! }

    init(
        _ engine: Engine, _ options: Options, in setting: Setting = Setting(), isStormy: Bool = false,
        losesPackets: Bool = false,
        refusesMemory: Bool = false, endsByItself: Bool = false, losesCompletions: Bool = false,
        hasTrueTime: Bool = false, habits: Habits = .all,
        report: Report? = nil
    ) {
        self.engine = engine
        self.options = options
        self.setting = setting
        self.isStormy = isStormy
        self.losesPackets = losesPackets
        self.refusesMemory = refusesMemory
        self.endsByItself = endsByItself
        self.losesCompletions = losesCompletions
        self.hasTrueTime = hasTrueTime
        self.habits = habits
        self.report = report ?? Report(title: "\(engine.rawValue) seed \(options.seed)")
    }

    // MARK: Sessions

    /// The number of the next session, as long as there is to be one.
    func nextSession() -> UInt64? {
        if Clock.microseconds >= deadline.load(ordering: .relaxed) { return nil }
        return books.withLock { books in
            books.skip(options.only)
            if let limit = options.sessions, books.nextID > limit { return nil }
            defer {
                books.nextID += 1
                books.skip(options.only)
            }
            return books.nextID
        }
    }

    var isOver: Bool {
        Clock.microseconds >= deadline.load(ordering: .relaxed)
            || books.withLock { books in options.sessions.map { books.nextID > $0 } ?? false }
    }

    func session(_ id: UInt64) -> Session? { books.withLock { $0.sessions[id] } }
    func enter(_ session: Session) { books.withLock { $0.sessions[session.id] = session } }

    func leave(_ session: Session) {
        books.withLock { books in
            books.sessions[session.id] = nil
            books.hanging[session.id] = nil
            books.finished += 1
        }
    }

    func sessions(of epoch: Epoch) -> [Session] {
        books.withLock { $0.sessions.values.filter { $0.epoch === epoch } }.sorted { $0.id < $1.id }
    }

    /// How many sessions have come to their end, and how many bytes have arrived in them.
    var total: (sessions: Int, bytes: Int) { books.withLock { ($0.finished, $0.bytes) } }

    func count(bytes: Int) { books.withLock { $0.bytes += bytes } }

    func began(_ what: String) -> Int {
        books.withLock { books in
            books.nextTicket += 1
            books.tickets[books.nextTicket] = (what, Clock.microseconds)
            return books.nextTicket
        }
    }

    func ended(_ ticket: Int) { books.withLock { _ = $0.tickets.removeValue(forKey: ticket) } }

    /// Looks for sessions in which nothing happens any more.
    func watch() {
        let all = books.withLock { Array($0.sessions.values) }.sorted { $0.id < $1.id }
        let alone = all.filter { $0.idleMicroseconds > 2_000_000 && $0.hasNoServer }
        for session in alone { session.overWithoutServer() }
        let limit = UInt64(options.patience) * 1_000_000
        let now = Clock.microseconds
        let late = books.withLock { books in
            let late = books.tickets.filter { now > $0.value.since + limit }
            for ticket in late.keys { books.tickets[ticket]?.since = .max - limit }
            return late.values.map(\.what)
        }
        for what in late { report.hang(what) }
        let idle = all.filter { $0.idleMicroseconds > limit && !$0.plan.client.isTunnel && session($0.id) != nil }
        for session in idle {
            let count = books.withLock { books in
                books.hanging[session.id, default: 0] += 1
                return books.hanging[session.id] ?? 0
            }
            // Time to look at its sockets in between.
            switch count {
            case 1 where session.mayHaveLostItsReset: session.abort()
            // Ended by force, and there all the same.
            case 2 where session.mayHaveLostItsReset: session.hang()
            case 1: session.hang()
            case 3: session.abort()
            case 3 + options.patience: session.giveUp()
            default: break
            }
        }
    }

    // MARK: From the beginning to the end

    func execute() async {
        rawDriver = RawDriver { [weak self] in self?.watch() }
        listen()
        // Whatever opens descriptors or memory once and for all does it here.
        await Epoch(self, number: 0, sessions: 64, concurrent: 16).run()
        let descriptors = await calmDescriptors()
        let memory = Process.residentBytes
        deadline.store(
            options.sessions == nil ? Clock.microseconds + UInt64(options.seconds) * 1_000_000 : .max,
            ordering: .relaxed)
        await withTaskGroup { groups in
            for slot in 0..<Self.groupsAtATime {
                groups.addTask {
                    var number = UInt64(slot + 1)
                    while await self.epoch(number) { number += UInt64(Self.groupsAtATime) }
                }
            }
        }
        await settle(descriptors, memory)
        driver.stop()
        rawDriver = nil
        let (sessions, bytes) = total
        for line in report.kinds { say(line) }
        say("\(engine.rawValue): \(Self.grouped(sessions)) sessions, \(Self.size(bytes)), \(report.summary)")
    }

    private func epoch(_ number: UInt64) async -> Bool {
        if isOver { return false }
        var random = Random(options.seed, number, 4)
        let epoch = Epoch(
            self, number: number, sessions: random.logarithmic(16, 2048),
            concurrent: max(1, (options.concurrent ?? 48) / Self.groupsAtATime))
        await epoch.run()
        return true
    }

    private func listen() {
        let name = "torture-\(getpid())-\(engine.rawValue)"
        for address in [RawSocket.Address.tcp(port: 0), .unix(name: name)] {
            let (descriptor, bound) = RawSocket.listen(at: address)
            rawListeners.append(ListenerProfile(raw: bound))
            driver.execute { [unowned self] driver in
                driver.listen(descriptor) { driver.add(RawPeer(accepted: $0, self)) }
            }
        }
    }

    /// How many descriptors are open when those of the first sessions are closed, which goes on for a while behind their end.
    private func calmDescriptors() async -> Int {
        var count = Process.descriptors
        var calm = 0
        for _ in 0..<500 where calm < 50 {
            await Clock.sleep(.milliseconds(10))
            let now = Process.descriptors
            calm = now == count && Census.living.isEmpty ? calm + 1 : 0
            count = now
        }
        return count
    }

    /// Everything is to be as it was in the beginning.
    private func settle(_ descriptors: Int, _ memory: Int) async {
        // What is late is no leak: on a busy machine the last objects of a loop outlive it by seconds.
        var patience = 3000
        while patience > 0, Process.descriptors != descriptors || !Census.living.isEmpty {
            patience -= 1
            await Clock.sleep(.milliseconds(10))
        }
        let now = Process.descriptors
        if now != descriptors {
            report.leak("\(now - descriptors) descriptors: \(Process.openDescriptors.map(Process.name(of:)))")
        }
        for living in Census.living { report.leak("\(living) still alive") }
        let grown = Process.residentBytes - memory
        if grown > 512 << 20 { report.leak("\(grown >> 20) MiB of memory more than after the first sessions") }
    }

    static func grouped(_ number: Int) -> String {
        var text = ""
        for (index, digit) in "\(number)".reversed().enumerated() {
            if index > 0, index % 3 == 0 { text = "," + text }
            text = "\(digit)" + text
        }
        return text
    }

    static func size(_ bytes: Int) -> String {
        let tenths = bytes / 100_000_000
        return tenths > 0 ? "\(tenths / 10).\(tenths % 10) GB" : "\(bytes / 1_000_000) MB"
    }
}

/// What the kernel says of this process.
enum Process {
    static var openDescriptors: [Int32] {
        guard let folder = opendir("/proc/self/fd") else { return [] }
        defer { closedir(folder) }
        var found: [Int32] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let number = Int32(name), number != dirfd(folder) { found.append(number) }
        }
        return found.sorted()
    }

    static var descriptors: Int { openDescriptors.count }

    /// `12 socket:[345]`, `13 anon_inode:[eventfd]`.
    static func name(of descriptor: Int32) -> String {
        var target = [CChar](repeating: 0, count: 256)
        let length = max(0, readlink("/proc/self/fd/\(descriptor)", &target, 255))
        return "\(descriptor) " + String(decoding: target.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    static var residentBytes: Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, 128, file) != nil else { return 0 }
        let words = String(decoding: line.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
        return (words.count > 1 ? Int(words[1]) ?? 0 : 0) * Int(getpagesize())
    }
}

/// Numbers nobody else on this machine has, for names of listeners.
enum Unique {
    private static let last = Atomic<Int>(0)
    static var number: String { "\(getpid())-\(last.wrappingAdd(1, ordering: .relaxed).oldValue)" }
}
