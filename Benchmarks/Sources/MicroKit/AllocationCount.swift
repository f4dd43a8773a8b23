import Glibc

/// The counter of liballocation-count.so, in a process into which it was preloaded.
enum AllocationCount {
    /// Heap allocations of the calling thread so far; nil where nobody counts.
    static let ofThread: (@convention(c) () -> UInt64)? = {
        guard let symbol = dlsym(nil, "allocation_count_of_thread") else { return nil }
        return unsafeBitCast(symbol, to: (@convention(c) () -> UInt64).self)
    }()
}
