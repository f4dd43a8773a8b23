internal import CTransport
internal import Glibc

/// Received bytes that wait for somebody, oldest first. Small pieces that come while others wait are copied behind each other,
/// so that a peer that sends byte by byte cannot make every byte cost an allocation. The loop's thread only.
struct InputQueue {
    private struct Piece {
        var buffer: Buffer
        /// The memory it holds, as far as it is known: its bytes or its block, and what keeps them.
        var cost: Int
    }

    /// What a piece costs besides its bytes: its place here, the object that owns it and its share of the allocator.
    static let overhead = 128
    /// Where small pieces are joined.
    private static let blockSize = 4096
    /// Pieces above this stay as they came: joining saves nothing.
    private static let smallLimit = 1024

    private var pieces: [Piece] = []
    private var first = 0
    /// The block behind the last piece, and how much of it is used; `nil` when that piece is not to grow.
    private var block: (storage: BufferStorage, used: Int)?
    /// The memory all pieces hold, in bytes.
    private(set) var cost = 0

    var isEmpty: Bool { first == pieces.count }

    mutating func append(_ bytes: borrowing ReadBytes) {
        guard bytes.count > 0 else { return }
        if bytes.count > Self.smallLimit || isEmpty {
            block = nil
            let buffer = Buffer(bytes)
            append(Piece(buffer: buffer, cost: buffer.count + Self.overhead))
        } else if let block, block.used + bytes.count <= Self.blockSize {
            join(bytes, to: block.storage, at: block.used)
        } else {
            let storage = BufferStorage(size: Self.blockSize)
            append(
                Piece(
                    buffer: Buffer(owner: storage, start: UnsafeRawPointer(storage.memory), count: 0),
                    cost: Self.blockSize + Self.overhead))
            join(bytes, to: storage, at: 0)
        }
    }

    private mutating func append(_ piece: Piece) {
        pieces.append(piece)
        cost += piece.cost
    }

    /// The memory behind the last piece is nobody else's: that piece has not been handed out.
    private mutating func join(_ bytes: borrowing ReadBytes, to storage: BufferStorage, at used: Int) {
        memcpy(storage.memory + used, bytes.start, bytes.count)
        let filled = used + bytes.count
        pieces[pieces.count - 1].buffer = Buffer(
            owner: storage, start: UnsafeRawPointer(storage.memory), count: filled)
        block = (storage, filled)
    }

    mutating func removeFirst() -> Buffer? {
        guard first < pieces.count else { return nil }
        let piece = pieces[first]
        pieces[first].buffer = Buffer()
        first += 1
        cost -= piece.cost
        if first == pieces.count {
            pieces.removeAll(keepingCapacity: pieces.count <= 64)
            first = 0
            block = nil
        } else if first >= 32, first >= pieces.count / 2 {
            // A reader that is always a little behind never empties the list.
            pieces.removeFirst(first)
            first = 0
        }
        return piece.buffer
    }
}
