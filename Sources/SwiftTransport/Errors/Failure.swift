internal import CTransport

/// Runs a C call that returns a result or a negative error number and fills in a `ct_failure`.
func checked<T>(_ body: (inout ct_failure) -> T?) throws(TransportError) -> T {
    var failure = ct_failure()
    guard let value = body(&failure) else { throw TransportError(failure) }
    return value
}

/// Runs a C call that returns a count or a negative error number.
@discardableResult
func checked(_ call: SystemCall, _ result: Int32) throws(TransportError) -> Int32 {
    guard result >= 0 else { throw TransportError(call: call, errno: -result) }
    return result
}
