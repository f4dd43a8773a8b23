internal import CSimulation
public import SwiftTransport

/// The other side of a ``TestChannel``, in the hands of the test. What it does has had all its consequences when the call returns.
///
/// It reads whatever comes, at once, until it is told to stop. Each method throws ``TestChannelError``, `.finished` and `.inUse` for
/// mistakes of the test's, `.endless` when the handlers never come to rest.
public final class TestPeer {
    private let world: TestWorld

    init(_ world: TestWorld) { self.world = world }

    // MARK: To the channel

    /// Sends bytes to the channel, which reads them in one turn of its loop if they fit into 64 KiB, or in as many turns as it is sent
    /// pieces.
    ///
    /// - Parameters:
    ///   - bytes: what the channel receives.
    ///   - size: how many bytes a piece has at most. Default `nil`: one piece.
    /// - Throws: also `.connectionOver`, when the peer has closed or ended its side, or the connection is lost.
    public func send(_ bytes: Buffer, inPiecesOf size: Int? = nil) throws {
        try world.use {
            try bytes.withUnsafeBytes { bytes in
                var rest = bytes[...]
                repeat {
                    let piece = rest.prefix(max(1, size ?? rest.count))
                    try world.send(UnsafeRawBufferPointer(rebasing: piece))
                    rest = rest.dropFirst(piece.count)
                } while !rest.isEmpty
            }
        }
    }

    /// The same for a text, as UTF-8.
    public func send(_ text: String, inPiecesOf size: Int? = nil) throws { try send(Buffer(text), inPiecesOf: size) }

    // MARK: From the channel

    /// What has come from the channel since the last call, in order.
    public func takeBytes() -> Buffer { Buffer(world.takeReceived()) }

    /// The peer reads nothing any more. Some 8 KiB still leave the channel, for the kernels of both sides, unless
    /// ``/SwiftTransport/ChannelOption/sendBuffer(_:)`` says otherwise; the rest stays in its queue.
    public func stopReading() throws { try world.use { world.peerReads = false } }

    /// The peer reads what there is and whatever comes.
    public func startReading() throws {
        try world.use {
            world.peerReads = true
            try world.settle()
        }
    }

    /// How the channel's side has ended, as far as the peer has read.
    public enum Ending: Sendable, Hashable {
        /// It has not: more may come.
        case open
        /// The channel has closed, or ended its output, behind the last byte.
        case finished
        /// The channel has reset the connection.
        case reset
    }

    /// How the channel's side has ended; ``Ending/open`` too when it was the peer that closed.
    public var ending: Ending { world.ending }

    // MARK: The end

    /// The peer sends nothing any more, and goes on reading.
    public func endOutput() throws { try world.use { try world.asPeer { sim_peer_end_output($0) } } }

    /// The peer closes the connection. One that has not read everything resets it with that, as a kernel does.
    public func close() throws { try world.use { try world.asPeer { sim_peer_close($0) } } }

    /// The peer resets the connection.
    public func reset() throws { try world.use { try world.asPeer { sim_peer_reset($0) } } }
}
