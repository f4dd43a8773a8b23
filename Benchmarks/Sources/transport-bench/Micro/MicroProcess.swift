import CLoad
import Foundation
import MicroKit

/// A process that measures something, prints its figures and ends.
enum MicroProcess {
    /// - Parameter counting: whether to preload the library that counts allocations.
    static func figures(of binary: String, _ arguments: [String], counting: Bool) throws -> [MicroFigure] {
        let executable = try siblingExecutable(binary)
        let errors = FileManager.default.temporaryDirectory
            .appendingPathComponent("transport-bench-\(getpid())-\(UUID().uuidString).stderr")
        defer { try? FileManager.default.removeItem(at: errors) }
        let preload = counting ? ["LD_PRELOAD=\(try siblingLibrary("allocation-count"))"] : []
        let child = try ChildProcess(
            executable: "/usr/bin/env", arguments: preload + [executable] + arguments, errorPath: errors.path)
        // An interrupted bench must not leave it behind.
        cload_guard_child(child.pid)
        let output = FileHandle(fileDescriptor: child.output, closeOnDealloc: true)
        let text = String(decoding: try output.readToEnd() ?? Data(), as: UTF8.self)
        _ = child.reap(wait: true)
        cload_guard_child(0)

        let figures = text.split(separator: "\n").compactMap { MicroFigure(line: $0) }
        guard !figures.isEmpty else {
            let complaint = (try? String(contentsOf: errors, encoding: .utf8)) ?? ""
            throw BenchError("\(binary) measured nothing: \(complaint.isEmpty ? text : complaint)")
        }
        return figures
    }

    /// The same of this library's own worker, its loops pinned where there are two processors.
    ///
    /// - Parameter sizes: what to write, copied and gathered, instead of measuring everything.
    static func ownFigures(
        _ port: UInt16, _ duration: Duration, _ engine: Engine, _ processors: [Int], sizes: [Int] = [], counting: Bool
    ) throws -> [MicroFigure] {
        func option(_ name: String, _ values: [Int]) -> [String] {
            values.isEmpty ? [] : [name] + values.map(String.init)
        }
        return try figures(
            of: "transport-bench",
            ["micro-worker", "\(port)", duration.inSeconds, "--engine", engine.rawValue]
                + option("--processors", processors.count == 2 ? processors : []) + option("--sizes", sizes),
            counting: counting)
    }

    private static func siblingLibrary(_ name: String) throws -> String {
        guard let own = Bundle.main.executableURL else { throw BenchError("the path of this executable is unknown") }
        let path = own.deletingLastPathComponent().appendingPathComponent("lib\(name).so").path
        guard access(path, R_OK) == 0 else {
            throw BenchError("\(path) is missing: build all products with `swift build -c release`")
        }
        return path
    }
}
