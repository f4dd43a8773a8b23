/// What happened at last in a simulated network.
enum LastEvents {
    private static let count = 80

    static func of(_ trace: String) -> String {
        trace.split(separator: "\n").suffix(count).joined(separator: "\n")
    }
}
