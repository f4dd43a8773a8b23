internal import Glibc

/// A part of a file, to be sent without holding it in memory: it is read from the page cache piece by piece, each when the
/// kernel has accepted the one before.
///
/// Reading happens on the channel's loop, so the file should be local and warm.
public final class FileRegion: Sendable {
    /// Where it begins, in bytes from the start of the file.
    public let offset: Int
    /// How many bytes it has.
    public let count: Int
    private let descriptor: Int32
    private let ownsDescriptor: Bool
    /// What is read and sent at a time.
    static let windowSize = 64 * 1024

    /// What a region of `count` bytes counts as pending: its window, because more of it is never in memory.
    static func weight(of count: Int) -> Int { min(count, windowSize) }

    /// A region of an open file.
    ///
    /// - Parameter closing: whether the region closes the descriptor when it is no longer needed. Default true.
    public init(descriptor: Int32, offset: Int, count: Int, closing: Bool = true) {
        self.descriptor = descriptor
        self.offset = max(0, offset)
        self.count = max(0, count)
        ownsDescriptor = closing
    }

    /// A whole file.
    ///
    /// - Throws: what open(2) or fstat(2) said, as `.system`, `.invalidAddress` (not there) or `.notPermitted`.
    public convenience init(path: String) throws(TransportError) {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw TransportError(call: .open, errno: errno) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            let error = TransportError(call: .open, errno: errno)
            closeDescriptor(descriptor)
            throw error
        }
        self.init(descriptor: descriptor, offset: 0, count: Int(status.st_size))
    }

    deinit {
        if ownsDescriptor { closeDescriptor(descriptor) }
    }

    /// Reads what stands at `position` in the region into `window`, at most a window's size. Returns the number of bytes, at
    /// least 1, or -errno: a file that is shorter than the region is EIO.
    func read(at position: Int, into window: UnsafeMutableRawPointer) -> Int {
        let (place, overflow) = offset.addingReportingOverflow(position)
        while !overflow {
            let length = pread(descriptor, window, min(Self.windowSize, count - position), place)
            if length > 0 { return length }
            if length == 0 { break }
            if errno != EINTR { return -Int(errno) }
        }
        return -Int(EIO)
    }
}
