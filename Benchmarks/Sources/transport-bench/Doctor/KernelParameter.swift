import Foundation

/// A kernel parameter by the name sysctl(8) has for it.
enum KernelParameter {
    /// Its numbers; none where there is no such parameter, as in older kernels and some containers.
    static func numbers(_ name: String) -> [Int] {
        let text = text(ofFile: "/proc/sys/" + name.replacingOccurrences(of: ".", with: "/")) ?? ""
        return text.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
    }

    static func text(ofFile path: String) -> String? {
        (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
