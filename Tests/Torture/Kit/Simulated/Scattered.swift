import Glibc

/// Memory of many sizes, taken and given back at random, and some of it kept: what the thread allocates behind it lies in other places and
/// in another order.
final class Scattered {
    private var kept: [UnsafeMutableRawPointer] = []

    init() {
        var all = (0..<4000).compactMap { _ in malloc(Int.random(in: 16...1024)) }
        all.shuffle()
        kept = Array(all.prefix(all.count / 2))
        for memory in all.dropFirst(all.count / 2) { free(memory) }
    }

    deinit { for memory in kept { free(memory) } }
}
