/// What a channel received while its reading was held back: the kernel had it already, so it is kept, in order, until
/// reading goes on, and the end of stream behind it. The loop's thread only.
///
/// Bounded by what a loop lends to the kernel at a time (2 MiB), because the receive is stopped as soon as reading is.
final class HeldInput {
    var input = InputQueue()
    /// The end of stream (0) or the error (-errno) that came behind the bytes.
    var end: Int32?
    /// Delivering has been asked for and not begun.
    var isScheduled = false
}
