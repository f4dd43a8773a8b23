import CLoad
import Glibc

/// Server on one processor and load on another, where there are two.
struct Pinning {
    private let all: [UInt32]
    /// Nil when there is only one processor.
    private let pair: (server: UInt32, load: UInt32)?

    init() {
        var numbers = [UInt32](repeating: 0, count: 1024)
        let count = cload_allowed_processors(&numbers, UInt32(numbers.count))
        all = Array(numbers.prefix(Int(count)))
        pair = all.count >= 2 ? (all[0], all[1]) : nil
    }

    /// The numbers of the processors this process may use, ascending.
    static var processors: [Int] {
        var numbers = [UInt32](repeating: 0, count: 1024)
        return numbers.prefix(Int(cload_allowed_processors(&numbers, UInt32(numbers.count)))).map(Int.init)
    }

    var description: String {
        pair.map { "server pinned to CPU \($0.server), load to CPU \($0.load)" }
            ?? "NOT pinned: only one processor, server and load share it"
    }

    /// Starts something on the server's processor: a child process inherits the binding of the thread that starts it.
    func asServer<Result>(_ body: () throws -> Result) throws -> Result {
        try bound(to: pair?.server, body)
    }

    /// Runs something on the load's processor.
    func asLoad<Result>(_ body: () throws -> Result) throws -> Result {
        try bound(to: pair?.load, body)
    }

    private func bound<Result>(to processor: UInt32?, _ body: () throws -> Result) throws -> Result {
        guard let processor else { return try body() }
        let error = cload_bind_thread([processor], 1)
        guard error == 0 else { throw BenchError("sched_setaffinity: \(String(cString: strerror(-error)))") }
        defer { _ = cload_bind_thread(all, UInt32(all.count)) }
        return try body()
    }
}
