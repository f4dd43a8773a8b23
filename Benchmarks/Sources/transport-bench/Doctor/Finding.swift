import Foundation

/// One fact about the machine, and what to do about it.
struct Finding {
    var name: String
    var value: String
    /// What is worth knowing in any case.
    var note: String?
    /// What to change, and how; nil when it is good as it is.
    var advice: String?

    var text: String {
        let mark = advice == nil ? "ok    " : "CHANGE"
        let name = name.padding(toLength: max(30, name.count), withPad: " ", startingAt: 0)
        let lines = ["  \(mark)  \(name)  \(value)"] + [note, advice].compactMap { $0 }.map { "            \($0)" }
        return lines.joined(separator: "\n")
    }
}
