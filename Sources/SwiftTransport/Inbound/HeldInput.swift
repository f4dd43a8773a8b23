/// What a channel received while its reading was switched off: the kernel had it already, so it is kept, in order, until
/// reading is switched on again, and the end of stream behind it. The loop's thread only.
///
/// Bounded by what a loop lends to the kernel at a time (2 MiB), because the receive is stopped as soon as reading is.
final class HeldInput {
    @exclusivity(unchecked) private var buffers: [Buffer] = []
    @exclusivity(unchecked) private var first = 0
    /// The end of stream (0) or the error (-errno) that came behind the bytes.
    @exclusivity(unchecked) var end: Int32?
    /// Delivering has been asked for and not begun.
    @exclusivity(unchecked) var isScheduled = false

    func append(_ buffer: Buffer) { buffers.append(buffer) }

    func removeFirst() -> Buffer? {
        guard first < buffers.count else { return nil }
        defer {
            buffers[first] = Buffer()
            first += 1
        }
        return buffers[first]
    }
}
