extension OutputRawSpan {
    /// Appends a copy of `bytes`. There must be room for them: `freeCapacity` tells how much there is.
    @_lifetime(self: copy self)
    public mutating func append(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { append(copying: $0) }
    }

    /// Appends a copy of the bytes of `buffer`. There must be room for them.
    @_lifetime(self: copy self)
    public mutating func append(_ buffer: Buffer) {
        buffer.withUnsafeBytes { append(copying: $0) }
    }

    /// Appends a copy of lent bytes. There must be room for them.
    @_lifetime(self: copy self)
    public mutating func append(_ bytes: ReadBytes) {
        bytes.withUnsafeBytes { append(copying: $0) }
    }

    /// Appends the UTF-8 bytes of `text`. There must be room for them: `text.utf8.count` says how many they are.
    @_lifetime(self: copy self)
    public mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { append(copying: UnsafeRawBufferPointer($0)) }
    }

    @_lifetime(self: copy self)
    private mutating func append(copying bytes: UnsafeRawBufferPointer) {
        require(bytes.count <= freeCapacity, "\(bytes.count) bytes do not fit into the \(freeCapacity) that are left")
        unsafe withUnsafeMutableBytes { memory, used in
            UnsafeMutableRawBufferPointer(rebasing: memory[used...]).copyMemory(from: bytes)
            used += bytes.count
        }
    }
}
