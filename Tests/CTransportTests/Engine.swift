import CTransport
import Testing

/// The two real engines. Every test of what a loop does runs on both.
enum Engine: String, CaseIterable, CustomTestStringConvertible {
    case uring, epoll

    /// io_uring is left out only where this kernel refuses it; `ProbeTests` reports that.
    static var available: [Engine] { ct_probe().pointee.uring ? [.uring, .epoll] : [.epoll] }

    var kind: ct_engine_kind { self == .uring ? CT_ENGINE_URING : CT_ENGINE_EPOLL }
    var testDescription: String { rawValue }
}

/// An engine and, for io_uring, how its receive buffers are consumed.
struct Variant: CustomTestStringConvertible {
    var engine: Engine
    var classicBuffers = false

    static var all: [Variant] {
        Engine.available.flatMap { [Variant(engine: $0), Variant(engine: $0, classicBuffers: true)] }
    }
    var testDescription: String { classicBuffers ? "\(engine.rawValue), whole buffers" : engine.rawValue }
}
