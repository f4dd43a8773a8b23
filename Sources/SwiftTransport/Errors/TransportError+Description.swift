internal import Glibc

extension TransportError: CustomStringConvertible {
    /// One line: what it was about, what happened, the call and its error, the likely cause and the remedy.
    ///
    ///     127.0.0.1:7000: the connection was refused [connect: Connection refused, errno 111]. Nothing listens at ...
    public var description: String {
        var text = subject.map { "\($0): " } ?? ""
        text += meaning
        let source = [call == .none ? nil : call.name, errno == 0 ? nil : systemText].compactMap(\.self)
        if !source.isEmpty { text += " [\(source.joined(separator: ": "))]" }
        if let advice { text += ". \(advice)" }
        return text
    }

    private var systemText: String {
        if call == .getaddrinfo, errno < 0 { return String(cString: gai_strerror(errno)) }
        return "\(String(cString: strerror(errno))), errno \(errno)"
    }

    private var meaning: String {
        switch code {
        case .closed: "the channel is closed"
        case .notYetConnected: "the channel is not connected yet"
        case .unencodableMessage: "no handler turned the message into bytes"
        case .promiseDropped: "a handler dropped the write's promise"
        case .loopBudgetExhausted: "the loop's budget for queued bytes is used up"
        case .outputShutDown: "the channel's output was shut down"
        case .cancelled: "the \(operation) was cancelled"
        case .alreadyReading: "another task is reading already"
        case .alreadyConnected: "the channel is connected already, or somebody connects it"
        case .outboundQueueFull: "the channel's outbound queue is full"
        case .timedOut: "the time allowed is over"
        case .connectionRefused: "the connection was refused"
        case .connectionLost: "the connection was lost"
        case .unreachable: "the peer cannot be reached"
        case .addressInUse: "the address is in use"
        case .invalidAddress where call == .open: "there is no such file"
        case .invalidAddress: "the address is not valid or not to be found"
        case .unsuitableFile where errno == ENODATA: "the file ends before the region does"
        case .unsuitableFile where errno == EBADF: "the file is not open for reading"
        case .unsuitableFile: "it is not a regular file"
        case .descriptorLimit: "no descriptors are left"
        case .outOfMemory: "out of memory"
        case .engineUnavailable: "the engine is not to be had here"
        case .unsupportedOption: "the option is not supported"
        case .conflictingConfiguration where subject == "run": "the server's connections are served already"
        case .conflictingConfiguration: "was called more than once on the same bootstrap"
        case .handlerFailed: "a handler failed: \(cause)"
        case .loopShutDown: "the event loop has shut down"
        case .shuttingDown: "a graceful shutdown has begun, and nothing more is read"
        case .notPermitted: "not permitted"
        case .system where call == .pread: "the file could not be read"
        case .system: "the system call failed"
        }
    }

    /// What a user calls the operation behind `call`.
    private var operation: String {
        switch call {
        case .connect, .bind: call.name
        case .receive: "read"
        case .send: "write"
        case .getaddrinfo: "look-up"
        default: "operation"
        }
    }

    private var advice: String? {
        switch code {
        case .outboundQueueFull:
            "The peer reads more slowly than you write: watch isWritable, or raise the hard limit of WaterMark"
        case .loopBudgetExhausted:
            "Many peers read more slowly than you write: watch isWritable, or raise outboundBudget of LoopOptions"
        case .notYetConnected: "Write once channelActive was called, or when connect has returned"
        case .unencodableMessage:
            "Add a handler before the writer whose write(_:message:promise:) knows the message's type"
        case .promiseDropped:
            "A handler took the write and never ended it: hand its promise to the write that carries the bytes, or complete it"
        case .connectionRefused:
            "Nothing listens at that address, or a firewall rejects: check host, port and the service"
        case .alreadyConnected: "A channel connects once: make another one with makeChannel(on:)"
        case .alreadyReading: "One task reads a connection at a time: let it hand on what it read"
        case .connectionLost where errno == ETIMEDOUT:
            "The peer no longer answers: its host or the network between is gone"
        case .connectionLost: "The peer closed or crashed while data was under way: connect again"
        case .unreachable: "Check the route, the interface and the firewall"
        case .timedOut where call == .getaddrinfo:
            "The name service did not answer in time: check /etc/resolv.conf and the name server, or allow more time"
        case .timedOut where errno == EAGAIN:
            "Its backlog was full all the time: whoever listens there does not accept, or too slowly"
        case .timedOut where call == .connect && errno == 0:
            "What makes the handlers has not returned in time: look what it waits for, or allow more time"
        case .timedOut: "The peer did not answer in time: check the network, or allow more time"
        case .addressInUse:
            "Somebody listens there (see `ss -ltnp`, `ss -lxp`), or a file that is no socket has that path: choose another"
        case .invalidAddress where call == .getaddrinfo && errno == EAI_AGAIN:
            "No name server answered: check /etc/resolv.conf and the network, or try again"
        case .invalidAddress where call == .open: "Check the path, and the folder that a relative one starts from"
        case .invalidAddress where errno == ENAMETOOLONG:
            "A Unix socket's path has at most 107 bytes, a name in the abstract name space 108 with its leading zero byte"
        case .invalidAddress: "Check the host name, the address family and the path"
        case .unsuitableFile where errno == ENODATA: "Make the region when the file has all its bytes"
        case .unsuitableFile where errno == EBADF: "Open it with O_RDONLY or O_RDWR"
        case .unsuitableFile: "Read it yourself, where that may block, and write what you read"
        case .descriptorLimit where errno == ENFILE: "The system is full: raise fs.file-max"
        case .descriptorLimit: "The process is full: raise `ulimit -n` (LimitNOFILE in systemd)"
        case .outOfMemory where isOfIOUring:
            "Locked memory is limited: raise `ulimit -l` (LimitMEMLOCK in systemd) or the container's memory"
        case .outOfMemory: "The machine, the container or the user has no more: allow more, or serve fewer connections"
        case .engineUnavailable: engineAdvice
        // What helped against the first cause.
        case .closed where call != .none: TransportError(call: call, errno: errno).advice
        case .conflictingConfiguration where subject == "run":
            "Call it once, on a server that was bound without handlers and serve, or with childConnections"
        case .conflictingConfiguration:
            "One of the calls would count for nothing: call it once, with everything that belongs to it"
        case .system where call == .pread && errno == EIO:
            "It has become shorter since the region was made, or its device failed"
        case .system where call == .pthreadCreate:
            "No more threads are allowed: raise `ulimit -u` (TasksMax in systemd), the container's limit or kernel.threads-max"
        case .system where errno == ENOSPC:
            "epoll may watch no more descriptors of this user: raise fs.epoll.max_user_watches"
        case .unsupportedOption: "This kernel or this kind of socket does not have it: leave it out"
        case .notPermitted where call == .bind:
            "Ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE"
        case .notPermitted: "A capability, a file mode or a security policy forbids it"
        default: nil
        }
    }

    private var engineAdvice: String {
        switch errno {
        case EPERM, EACCES:
            "io_uring is forbidden: by seccomp (Docker's and containerd's default profiles) or by the sysctl "
                + "kernel.io_uring_disabled. Allow it there, or use the engine .automatic or .epoll"
        case ENOSYS: "This kernel (or sandbox) has no io_uring: use the engine .automatic or .epoll"
        case EINVAL, EOPNOTSUPP:
            "io_uring here lacks what we need (kernel 6.1 or later): use the engine .automatic or .epoll"
        default: "Use the engine .automatic or .epoll"
        }
    }
}
