/// Who holds a channel's reading back. One bit for each owner, so that none undoes what another has done: bytes are received
/// while the set is empty.
struct ReadingHolds: OptionSet {
    let rawValue: UInt32

    /// ``Channel/setAutomaticReading(_:)``
    static let automatic = ReadingHolds(rawValue: 1 << 0)
    /// ``Channel/setReading(_:flag:)``, 1 to 15.
    static func user(_ index: Int) -> ReadingHolds { ReadingHolds(rawValue: 1 << UInt32(index)) }
    /// ``BackPressureHandler``
    static let backPressure = ReadingHolds(rawValue: 1 << 16)
    /// The task of a ``Connection`` has fallen behind.
    static let task = ReadingHolds(rawValue: 1 << 17)
    /// A ``FrameHandler`` waits until its channel is writable; 0 to 7, as many as there are in a pipeline.
    static func codec(_ index: Int) -> ReadingHolds { ReadingHolds(rawValue: 1 << UInt32(18 + index)) }
    static let codecs = 8
}
