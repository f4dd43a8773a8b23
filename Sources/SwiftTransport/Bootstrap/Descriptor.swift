internal import Glibc

/// Closes a descriptor that never became part of a loop.
func closeDescriptor(_ descriptor: Int32) {
    _ = Glibc.close(descriptor)
}
