import Glibc

/// Sockets without the library. Every call is one system call; results are as the kernel gives them, errors as -errno.
enum RawSocket {
    /// Where to connect to or listen at.
    enum Address: Sendable, Equatable {
        case tcp(port: UInt16)
        /// A name in the abstract name space, without its leading zero.
        case unix(name: String)

        var isUnix: Bool { if case .unix = self { true } else { false } }
    }

    static func open(_ address: Address) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        return socket(address.isUnix ? AF_UNIX : AF_INET, type, 0)
    }

    static func connect(_ descriptor: Int32, to address: Address) -> Int32 {
        with(address) { result(of: Glibc.connect(descriptor, $0, $1)) }
    }

    /// A listening socket and where it listens.
    static func listen(at address: Address) -> (descriptor: Int32, address: Address) {
        let descriptor = open(address)
        precondition(descriptor >= 0, "socket: \(errno)")
        set(descriptor, SO_REUSEADDR, 1)
        precondition(with(address) { bind(descriptor, $0, $1) } == 0, "bind: \(errno)")
        precondition(Glibc.listen(descriptor, 1024) == 0, "listen: \(errno)")
        guard case .tcp = address else { return (descriptor, address) }
        var bound = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &bound) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        precondition(result == 0, "getsockname: \(errno)")
        return (descriptor, .tcp(port: UInt16(bigEndian: bound.sin_port)))
    }

    static func accept(_ descriptor: Int32) -> Int32 {
        let accepted = result(of: Glibc.accept(descriptor, nil, nil))
        if accepted >= 0 {
            _ = fcntl(accepted, F_SETFL, O_NONBLOCK)
            _ = fcntl(accepted, F_SETFD, FD_CLOEXEC)
        }
        return accepted
    }

    static func receive(_ descriptor: Int32, _ memory: UnsafeMutableRawPointer, _ count: Int) -> Int {
        let received = recv(descriptor, memory, count, 0)
        return received < 0 ? -Int(errno) : received
    }

    static func send(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
        let sent = Glibc.send(descriptor, bytes, count, Int32(MSG_NOSIGNAL))
        return sent < 0 ? -Int(errno) : sent
    }

    /// What a connect without blocking came to.
    static func error(of descriptor: Int32) -> Int32 {
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
        return error
    }

    static func set(_ descriptor: Int32, _ name: Int32, _ value: Int32) {
        var value = value
        setsockopt(descriptor, SOL_SOCKET, name, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// The peer gets a reset, over TCP.
    static func reset(_ descriptor: Int32) {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        close(descriptor)
    }

    private static func result(of result: Int32) -> Int32 { result < 0 ? -errno : result }

    private static func with<T>(_ address: Address, _ body: (UnsafePointer<sockaddr>, socklen_t) -> T) -> T {
        switch address {
        case .tcp(let port):
            var raw = sockaddr_in()
            raw.sin_family = sa_family_t(AF_INET)
            raw.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            raw.sin_port = port.bigEndian
            return withUnsafePointer(to: &raw) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        case .unix(let name):
            var raw = sockaddr_un()
            raw.sun_family = sa_family_t(AF_UNIX)
            var length = MemoryLayout<sa_family_t>.size + 1
            withUnsafeMutableBytes(of: &raw.sun_path) { path in
                for (index, byte) in name.utf8.enumerated() { path[index + 1] = byte }
                length += name.utf8.count
            }
            return withUnsafePointer(to: &raw) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(length)) }
            }
        }
    }
}
