import SwiftTransport
import Testing
import TransportTesting

/// Every call of the core that can fail is made to fail: a service lives from its first loop to its shutdown, once undisturbed, and
/// once more for each of its calls, with that one failing, and with all behind it failing too. Whatever fails, the run ends, the error
/// names the call, and nothing is left.
@Suite struct EveryCallTests {
    @Test(arguments: Engine.allCases, Failing.allCases) func everyCallMayFail(engine: Engine, failing: Failing)
        async throws
    {
        let whole = try await Life.lived(on: engine, failing: nil)
        #expect(whole.problems == [])
        #expect(whole.errors == [])
        #expect(whole.isComplete)
        #expect(whole.calls > 100)
        for number in 1...whole.calls {
            let life = try await Life.lived(on: engine, failing: (number, failing))
            guard !life.problems(after: whole, failing).isEmpty else { continue }
            Issue.record(
                """
                \(engine), call \(number) of \(whole.calls), \(life.failed?.operation ?? "none") with \(life.failed?.errno ?? 0), \
                \(failing): \(life.problems(after: whole, failing))
                \(life.errors.map(\.description).joined(separator: "\n"))
                \(life.surroundings)
                """)
        }
        print("\(whole.calls) calls on \(engine) failed, \(failing)")
    }
}

/// Which calls fail.
enum Failing: CaseIterable { case one, allBehindIt }

extension Life.Outcome {
    /// What is wrong with it.
    func problems(after whole: Life.Outcome, _ failing: Failing) -> [String] {
        var problems = problems
        if memoryBlocks != whole.memoryBlocks {
            problems.append("\(memoryBlocks - whole.memoryBlocks) blocks of memory left")
        }
        problems += errors.filter { !$0.isNamed }.map { "names no call: \($0.error)" }
        problems += errors.filter { !$0.isHelpful }.map { "says nothing of what to do: \($0.error)" }
        guard let failed else { return problems + ["nothing failed"] }
        // The first error has to be told as what it is, or nobody has noticed.
        if failing == .one, errors.isEmpty ? !isComplete : !errors.contains(where: { $0.tells(failed) }) {
            problems.append(
                errors.isEmpty ? "something is missing, and nobody was told" : "nobody was told of this call")
        }
        return problems
    }
}

extension Life.Trouble {
    /// A channel may be closed, a loop gone and memory short without any system call.
    var isNamed: Bool {
        switch error.code {
        case .closed, .cancelled, .loopShutDown, .shuttingDown, .timedOut, .promiseDropped, .outOfMemory: true
        default: error.call != .none
        }
    }

    /// Behind the call and its error there is a remedy.
    var isHelpful: Bool { error.errno == 0 || error.description.contains("]. ") }

    /// It is the error of this call, as somebody hears of it who asked for something that needed it.
    func tells(_ failed: FailedCall) -> Bool {
        if failed.operation == "allocation" || failed.operation == "mmap" { return error.code == .outOfMemory }
        if failed.operation == "getaddrinfo" { return error.call == .getaddrinfo }
        return error.errno == failed.errno && Self.calls[failed.operation, default: []].contains(error.call)
    }

    private static let calls: [String: Set<SystemCall>] = [
        "socket": [.socket], "bind": [.bind], "listen": [.listen], "accept4": [.accept], "ACCEPT": [.accept],
        "connect": [.connect], "CONNECT": [.connect], "getsockopt SO_ERROR": [.connect],
        "ioctl FIONBIO": [.connect, .accept],
        "recv": [.receive], "RECV": [.receive], "sendmsg": [.send], "SEND": [.send], "SEND_ZC": [.send],
        "shutdown": [.shutdown], "setsockopt": [.setsockopt], "getsockname": [.getsockname], "eventfd": [.eventfd],
        "epoll_create1": [.epollCreate], "epoll_ctl ADD": [.epollCtl, .accept, .connect, .receive, .send],
        "io_uring_setup": [.ioUringSetup], "io_uring_register ENABLE_RINGS": [.ioUringRegister],
        "io_uring_register PBUF_RING": [.ioUringRegister],
    ]
}
