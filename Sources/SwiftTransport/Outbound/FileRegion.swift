internal import Glibc

/// A part of a file, to be sent without holding it in memory: it is read from the page cache piece by piece, each when the
/// kernel has accepted the one before.
///
/// Reading happens on the channel's loop, so the file should be local and warm. What cannot be sent is refused when the
/// region is made: what is no regular file (a folder, a pipe, a socket, a device), and a region that goes beyond the end.
public final class FileRegion: Sendable {
    /// Where it begins, in bytes from the start of the file.
    public let offset: Int
    /// How many bytes it has.
    public let count: Int
    private let descriptor: Int32
    private let ownsDescriptor: Bool
    private let path: String?
    /// What is read and sent at a time.
    static let windowSize = 64 * 1024

    /// What a region of `count` bytes counts as pending: its window, because more of it is never in memory.
    static func weight(of count: Int) -> Int { min(count, windowSize) }

    /// A region of an open file.
    ///
    /// - Parameters:
    ///   - descriptor: open for reading, of a regular file.
    ///   - offset: in bytes from the start of the file; below 0 is 0.
    ///   - count: in bytes; below 0 is 0.
    ///   - closing: whether the region closes the descriptor when it is no longer needed. Default true. When this throws,
    ///     the descriptor is still the caller's.
    /// - Throws: `.unsuitableFile`, with its error number saying why: EISDIR, ESPIPE (a pipe, a socket or a device), EBADF
    ///   (not open for reading) or ENODATA (the file ends before the region does); else what fstat(2) said.
    public convenience init(
        descriptor: Int32, offset: Int, count: Int, closing: Bool = true
    ) throws(TransportError) {
        let offset = max(0, offset)
        let count = max(0, count)
        do throws(TransportError) {
            guard Self.isReadable(descriptor) else { throw TransportError(.unsuitableFile, call: .fstat, errno: EBADF) }
            let size = try Self.size(of: descriptor)
            guard count == 0 || (count <= size && offset <= size - count) else {
                throw TransportError(.unsuitableFile, call: .fstat, errno: ENODATA)
            }
        } catch {
            throw error.about(Self.name(of: descriptor))
        }
        self.init(descriptor, offset, count, closing: closing, path: nil)
    }

    /// A whole file.
    ///
    /// - Throws: what open(2) or fstat(2) said, as `.invalidAddress` (not there), `.notPermitted` or `.system`;
    ///   `.unsuitableFile` when it is no regular file.
    public convenience init(path: String) throws(TransportError) {
        // C would open what stands before a zero byte.
        guard !path.utf8.contains(0) else { throw TransportError(.invalidAddress, call: .open, subject: path) }
        // Opening a pipe waits for somebody at its other end, and a terminal may become ours.
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { throw TransportError(call: .open, errno: errno, subject: path) }
        let size: Int
        do throws(TransportError) {
            size = try Self.size(of: descriptor)
        } catch {
            closeFile(descriptor)
            throw error.about(path)
        }
        self.init(descriptor, 0, size, closing: true, path: path)
    }

    private init(_ descriptor: Int32, _ offset: Int, _ count: Int, closing: Bool, path: String?) {
        self.descriptor = descriptor
        self.offset = offset
        self.count = count
        self.path = path
        ownsDescriptor = closing
    }

    deinit {
        if ownsDescriptor { closeFile(descriptor) }
    }

    // MARK: What it is

    /// The file, as errors name it.
    var name: String { path ?? Self.name(of: descriptor) }

    private static func name(of descriptor: Int32) -> String {
        let path = String(unsafeUninitializedCapacity: Int(PATH_MAX)) { text in
            text.withMemoryRebound(to: CChar.self) {
                max(0, readlink("/proc/self/fd/\(descriptor)", $0.baseAddress!, $0.count))
            }
        }
        return path.isEmpty ? "descriptor \(descriptor)" : path
    }

    private static func isReadable(_ descriptor: Int32) -> Bool {
        let flags = fcntl(descriptor, F_GETFL)
        return flags >= 0 && flags & O_ACCMODE != O_WRONLY && flags & pathOnly == 0
    }

    /// O_PATH, which Glibc's module leaves out.
    private static let pathOnly: Int32 = 0o10000000

    /// The size of a regular file.
    private static func size(of descriptor: Int32) throws(TransportError) -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw TransportError(call: .fstat, errno: errno) }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return Int(status.st_size)
        case S_IFDIR: throw TransportError(.unsuitableFile, call: .fstat, errno: EISDIR)
        default: throw TransportError(.unsuitableFile, call: .fstat, errno: ESPIPE)
        }
    }

    // MARK: Reading

    /// Reads a part of the region into memory: for handlers that change what is sent. Blocks until the disk has it, so take
    /// pieces of some 64 KiB.
    ///
    /// - Parameter range: offsets from the region's start; what lies outside is left out.
    /// - Throws: what pread(2) said; EIO when the file has become shorter than the region.
    public func contents(_ range: Range<Int>) throws(TransportError) -> Buffer {
        let range = range.clamped(to: 0..<count)
        guard !range.isEmpty else { return Buffer() }
        let storage = BufferStorage(size: range.count)
        var filled = 0
        while filled < range.count {
            let length = read(
                at: range.lowerBound + filled, into: storage.memory + filled, atMost: range.count - filled)
            if length < 0 { throw TransportError(call: .pread, errno: Int32(-length), subject: name) }
            filled += length
        }
        return Buffer(owner: storage, start: UnsafeRawPointer(storage.memory), count: filled)
    }

    /// Reads what stands at `position` in the region, at most `limit` bytes. Returns the number of bytes, at least 1, or
    /// -errno: a file that has become shorter than the region is EIO.
    func read(at position: Int, into memory: UnsafeMutableRawPointer, atMost limit: Int = windowSize) -> Int {
        while true {
            let length = pread(descriptor, memory, min(limit, count - position), offset + position)
            if length > 0 { return length }
            if length == 0 { return -Int(EIO) }
            if errno != EINTR { return -Int(errno) }
        }
    }
}
