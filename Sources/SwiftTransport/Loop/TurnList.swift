/// Channels to come back to before the turn ends: those that read, those that have something to send.
///
/// A channel is on a list at most once (a flag in it says so) and alive while it is: one that is closed before its turn
/// has come is taken off.
struct TurnList {
    private var items: UnsafeMutablePointer<ChannelReference>
    private var capacity: Int
    private(set) var count = 0

    init() {
        capacity = 64
        items = .allocate(capacity: capacity)
    }

    func deallocate() { items.deallocate() }

    subscript(index: Int) -> ChannelReference { items[index] }

    mutating func append(_ channel: Channel) {
        if count == capacity { grow() }
        items[count] = ChannelReference(channel)
        count &+= 1
    }

    mutating func removeAll() { count = 0 }

    /// Removes those that were first; who was added behind them stays.
    mutating func removeFirst(_ number: Int) {
        assert(number <= count)
        count &-= number
        if count > 0 { items.update(from: items + number, count: count) }
    }

    mutating func remove(_ channel: Channel) {
        guard let index = (0..<count).first(where: { items[$0].isSame(as: ChannelReference(channel)) }) else { return }
        count &-= 1
        items[index] = items[count]
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<ChannelReference>.allocate(capacity: capacity * 2)
        larger.moveInitialize(from: items, count: count)
        items.deallocate()
        items = larger
        capacity *= 2
    }
}
