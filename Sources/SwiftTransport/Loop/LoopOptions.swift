internal import CTransport
internal import Glibc

/// How the loops of a group are made. The defaults are meant to be left alone.
public struct LoopOptions: Sendable {
    /// Which engine. Default `.automatic`.
    public var engine: EngineChoice = .automatic
    /// The CPUs to pin the loops to, loop `i` to `cpus[i % cpus.count]`. Default empty: not pinned.
    public var cpus: [Int] = []
    /// How long a loop polls without sleeping after something happened. Default zero. Costs a core and takes a round
    /// trip over loopback from about 30 to about 20 microseconds (measured on two cores, Linux 6.18).
    public var spin: Duration = .zero
    /// Receive memory of a loop, wherever it is: with the kernel, with a handler, kept by the application. Default
    /// 64 MiB. When half of it is out, bytes that are kept are copied out; when all is, connections wait their turn.
    public var receiveBudget: ByteCount = .mebibytes(64)

    /// Bytes that all channels of a loop may have queued together, entries included. Default 1 GiB. A channel that has
    /// nothing queued may always queue one write. As much again may be on its way to the loop from other threads, in writes and
    /// broadcasts, with 160 bytes for each of them.
    public var outboundBudget: ByteCount = .mebibytes(1024)
    /// What happens to a write beyond ``outboundBudget``: it fails with `.loopBudgetExhausted` (default), or its channel is
    /// closed too. Counted in ``LoopStatistics``.
    public var atOutboundBudget = WaterMark.Overflow.failWrite

    /// Buffers up to this size are copied behind each other when they are written, so that many small writes leave as one
    /// piece; larger ones are sent from where they are. Default 1 KiB, at most 4,080 bytes. Measured (`transport-bench
    /// thresholds`): up to 512 B a copy is a fifth cheaper, from 1 to 1.5 KiB there is no difference, from 2 KiB it is dearer.
    public var copyLimit: ByteCount = .kibibytes(1)
    /// Received bytes below this size are copied when they are kept or written; from it on the receive memory itself is
    /// shared, a chunk of 64 KiB for as long as any part of it is in use. Default 4 KiB: below it sharing saves 2 %
    /// at most and above it up to 9 % (same measurement), and one slow consumer would pin a whole chunk for little.
    public var shareThreshold: ByteCount = .kibibytes(4)

    /// For tests, which want them to be too small: entries of the submission queue, and bytes of a chunk of receive memory. 0: the
    /// core's own.
    package var submissionEntries: UInt32 = 0
    package var chunkSize: UInt32 = 0

    /// The defaults.
    public init() {}

    var spinNanoseconds: UInt64 { UInt64(0).advanced(by: spin) }

    var native: ct_loop_options {
        var native = ct_loop_options()
        native.engine = nativeEngine
        native.receive_budget = UInt64(receiveBudget.bytes)
        native.submission_entries = submissionEntries
        native.chunk_size = chunkSize
        native.share_threshold = UInt64(shareThreshold.bytes)
        return native
    }

    /// The choice is the library's: neither the options nor the environment name an engine.
    var isAutomatic: Bool { nativeEngine == CT_ENGINE_AUTOMATIC }

    private var nativeEngine: ct_engine_kind {
        switch engine {
        case .only(.uring): CT_ENGINE_URING
        case .only(.epoll): CT_ENGINE_EPOLL
        case .automatic:
            switch getenv("SWIFT_TRANSPORT_ENGINE").map({ String(cString: $0) }) {
            case "uring": CT_ENGINE_URING
            case "epoll": CT_ENGINE_EPOLL
            default: CT_ENGINE_AUTOMATIC
            }
        }
    }

    func cpu(ofLoop index: Int) -> Int32 { cpus.isEmpty ? -1 : Int32(clamping: cpus[index % cpus.count]) }
}
