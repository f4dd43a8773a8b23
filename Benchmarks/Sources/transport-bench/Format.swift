import Foundation

extension Double {
    /// With a fixed number of decimals, whatever the locale.
    func formatted(decimals: Int) -> String {
        String(format: "%.\(decimals)f", self)
    }
}

/// A dash where there is no value.
func optional(_ value: Double?, decimals: Int) -> String {
    value.map { $0.formatted(decimals: decimals) } ?? "-"
}

/// A message for the person who watches, apart from the result on standard output.
func progress(_ message: String, newline: Bool = true) {
    FileHandle.standardError.write(Data((message + (newline ? "\n" : "")).utf8))
}

/// A failure with a message meant for the person at the terminal.
struct BenchError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
