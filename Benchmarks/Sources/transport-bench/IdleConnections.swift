import CLoad

/// Connections that are opened, used once and held open.
struct IdleConnections: ~Copyable {
    private let handle: OpaquePointer

    init(host: String, port: UInt16, capacity: Int, messageBytes: UInt32) throws {
        var created: OpaquePointer?
        try withErrorText { text, size in
            created = cload_idle_create(host, port, UInt32(clamping: capacity), messageBytes, text, size)
            return created == nil ? -1 : 0
        }
        guard let created else { throw BenchError("no idle connections") }
        handle = created
    }

    deinit {
        cload_idle_destroy(handle)
    }

    /// Opens more connections.
    func open(_ count: Int) throws {
        try withErrorText { cload_idle_open(handle, UInt32(clamping: count), $0, $1) }
    }

    /// One checked echo on every connection from the given one, by order of opening, to the last.
    func echo(from first: Int) throws {
        try withErrorText { cload_idle_echo(handle, UInt32(clamping: first), $0, $1) }
    }
}
