internal import CTransport
internal import Glibc

/// Closes the descriptor of a file.
func closeFile(_ descriptor: Int32) {
    _ = Glibc.close(descriptor)
}

/// Closes a socket that never became part of a loop.
func closeSocket(_ descriptor: Int32) {
    ct_socket_close(descriptor)
}
