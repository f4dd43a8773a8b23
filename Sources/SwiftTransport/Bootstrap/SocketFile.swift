internal import CTransport
internal import Glibc

/// The file of a Unix domain socket that listens: known by what it is and not only by its path, so that nobody else's is removed.
struct SocketFile: Sendable, Equatable {
    private let path: [CChar]
    private let device: dev_t
    private let node: ino_t

    /// The file of `address`; `nil` when there is none (a name in the abstract name space), or when what is there is no socket.
    init?(_ address: SocketAddress) {
        guard let path = address.path else { return nil }
        self.init(path: path)
    }

    private init?(path: [CChar]) {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return nil }
        self.path = path
        device = status.st_dev
        node = status.st_ino
    }

    /// Removes it, unless by now something else has its path. For a server's own file while the server still listens: who looks
    /// whether it was left behind sees that it was not.
    func remove() {
        if SocketFile(path: path) == self { unlink(path) }
    }

    /// Removes a file that a server left behind when it ended without closing. True when it did.
    static func removeStale(at address: SocketAddress) -> Bool {
        guard let file = SocketFile(address), !file.isBound, isRefused(address), SocketFile(path: file.path) == file
        else { return false }
        return unlink(file.path) == 0
    }

    /// Nobody listens. Somebody may be about to, between bind(2) and listen(2): see ``isBound``.
    private static func isRefused(_ address: SocketAddress) -> Bool {
        var failure = ct_failure()
        let descriptor = ct_socket_open(AF_UNIX, &failure)
        guard descriptor >= 0 else { return false }
        defer { closeSocket(descriptor) }
        return address.withSockaddr { ct_socket_connect_at_once(descriptor, $0, $1) } == -ECONNREFUSED
    }

    /// Whether the kernel lists a socket with this path that is not a connection. Only as far as it can be seen from here: another
    /// network name space has a list of its own, and a relative path is one of its own too.
    private var isBound: Bool {
        let descriptor = open("/proc/net/unix", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { closeFile(descriptor) }
        var table: [UInt8] = []
        while true {
            let piece = [UInt8](unsafeUninitializedCapacity: 64 * 1024) {
                $1 = max(0, read(descriptor, $0.baseAddress, $0.count))
            }
            if piece.isEmpty { break }
            table += piece
        }
        let wanted = path.dropLast().map { UInt8(bitPattern: $0) }
        return table.split(separator: UInt8(ascii: "\n")).contains { line in
            // Num RefCount Protocol Flags Type St Inode Path
            let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 7)
            return fields.count == 8 && fields[5].elementsEqual("01".utf8) && fields[7].elementsEqual(wanted)
        }
    }
}
