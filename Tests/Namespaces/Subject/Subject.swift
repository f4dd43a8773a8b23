import Glibc
import SwiftTransport
import Synchronization

/// A process that uses the library as it is told to, line by line, and answers each line with one: `ok` and counts, or
/// `failed` and why. It ends with its input, and so with its driver.
final class Subject {
    private let engine: Engine
    private var group: EventLoopGroup?
    private let tally = Tally()

    private init(_ engine: Engine) { self.engine = engine }

    static func main(_ engine: Engine) -> Never {
        // The driver ignores it, and processes inherit that: here it would hide a send that forgets to.
        signal(SIGPIPE, SIG_DFL)
        // What the driver's own parent forgot to keep to itself: limits are about numbers, not about how many there are.
        for descriptor in 3..<Int32(1024) { close(descriptor) }
        Task {
            // The runtime makes itself descriptors when it first sleeps, and keeps them: they are not to be counted later.
            try? await Task.sleep(for: .milliseconds(1))
            answer("ok")
            let subject = Subject(engine)
            while let line = readLine() { await subject.obey(line) }
            exit(0)
        }
        while true { pause() }
    }

    private static func answer(_ line: String) { say(line) }

    private func obey(_ line: String) async {
        do {
            let counts = try await perform(line.split(separator: " ").map(String.init))
            Self.answer("ok \(counts.line)")
        } catch {
            Self.answer("failed \(line): \(error)")
        }
    }

    private func perform(_ words: [String]) async throws -> Counts {
        switch (words[0], words.count) {
        case ("start", 1): group = try start()
        case ("serve", 3): return try await serve(try service(words[1]), try number(words[2]))
        case ("connect", 6):
            return try await connect(
                try service(words[1]), try number(words[2]),
                try SocketAddress(host: words[3], port: UInt16(number(words[4]))),
                count: try number(words[5]))
        case ("counts", 1): return try await counts()
        case ("limit", 2): try Limits.setDescriptors(try number(words[1]))
        case ("ip", _): try Tool.run(words)
        case ("finish", 1): finish()
        case ("poke", 1): tally.channels.writeAndFlush(Pattern.piece(at: 0, count: 1))
        case ("close", 2...): tally.channels.close(try mode(words))
        case ("end", 1):
            await (try loops()).shutdown(within: .zero)
            // The loops keep what others post to until nobody can any more.
            group = nil
            return tally.current
        default: throw Wrong("no such command")
        }
        return Counts()
    }

    // MARK: Commands

    private func start() throws -> EventLoopGroup {
        var options = LoopOptions()
        options.engine = .only(engine)
        return try EventLoopGroup(loops: 2, options: options)
    }

    private func loops() throws -> EventLoopGroup {
        guard let group else { throw Wrong("not started") }
        return group
    }

    private func serve(_ service: Service, _ size: Int) async throws -> Counts {
        let tally = tally
        let server = try await ServerBootstrap(group: loops())
            .childOptions(service.options)
            .childHandlers { service.handlers(tally, size) }
            .onAcceptError { _ in tally.add(.refusedAccepts) }
            .bind(host: "0.0.0.0", port: 0)
        var counts = Counts()
        counts[.port] = Int(server.localAddress.port)
        return counts
    }

    private func connect(_ service: Service, _ size: Int, _ address: SocketAddress, count: Int) async throws -> Counts {
        let tally = tally
        for _ in 0..<count {
            _ = try await ClientBootstrap(group: loops())
                .options(service.options)
                .handlers { service.handlers(tally, size) }
                .connect(to: address)
        }
        return Counts()
    }

    private func counts() async throws -> Counts {
        var counts = tally.current
        for loop in try loops().loops {
            guard let statistics = await loop.statistics() else { continue }
            counts[.turns] += Int(statistics.turns)
            counts[.accepts] += Int(statistics.accepts)
            counts[.open] += Int(statistics.openEndpoints)
            counts[.queuedBytes] += statistics.queuedBytes
            counts[.stale] += Int(statistics.staleCompletions)
            counts[.overflows] += Int(statistics.completionOverflows)
        }
        return counts
    }

    /// Whoever pumps stops the next time it may write.
    private func finish() { tally.isOver.store(true, ordering: .relaxed) }

    // MARK: Words

    private func service(_ word: String) throws -> Service {
        guard let service = Service(rawValue: word) else { throw Wrong("no such service") }
        return service
    }

    private func number(_ word: String) throws -> Int {
        guard let number = Int(word) else { throw Wrong("not a number: \(word)") }
        return number
    }

    private func mode(_ words: [String]) throws -> CloseMode {
        switch words[1] {
        case "immediate": .immediate
        case "reset": .reset
        case "drain": .drain(within: .milliseconds(try number(words[2])))
        default: throw Wrong("no such way to close")
        }
    }
}

enum Limits {
    /// How many descriptors this process may have.
    static var descriptors: Int {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return Int(clamping: limit.rlim_cur)
    }

    /// How many descriptors this process may have; its hard limit stays.
    static func setDescriptors(_ count: Int) throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = min(rlim_t(count), limit.rlim_max)
        guard setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            throw Wrong(call: "setrlimit")
        }
    }
}
