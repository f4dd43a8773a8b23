/// The groups that a channel leaves when it closes. It never changes, so that all channels with one group share it, and being a member
/// of that costs a channel no memory of its own.
final class GroupMembership: Sendable {
    /// `nil` when nobody has the group any more.
    private weak let group: ChannelGroup?
    private let others: GroupMembership?

    init(_ group: ChannelGroup, others: GroupMembership? = nil) {
        self.group = group
        self.others = others
    }

    /// How many, with those that are gone.
    var count: Int { 1 + (others?.count ?? 0) }

    private var groups: [ChannelGroup] { (group.map { [$0] } ?? []) + (others?.groups ?? []) }

    /// Also of these groups; groups that are gone are forgotten.
    func adding(_ more: GroupMembership) -> GroupMembership {
        let groups = groups
        return more.groups.reduce(groups.reversed().reduce(nil) { GroupMembership($1, others: $0) }) { known, group in
            groups.contains { $0 === group } ? known : GroupMembership(group, others: known)
        } ?? more
    }

    func leave(_ channel: Channel) { for group in groups { group.remove(channel) } }
}

extension Channel {
    /// Leaves the group when it closes, at once when it is closed. Any thread.
    func belong(to membership: GroupMembership) {
        if isOnLoop {
            belongs(to: membership)
        } else {
            eventLoop.post(
                ClosureWork { _ in
                    self.belongs(to: membership)
                } otherwise: {
                    membership.leave(self)
                })
        }
    }

    private func belongs(to membership: GroupMembership) {
        if own.lifecycle.phase == .closed { return membership.leave(self) }
        own.groups = own.groups?.adding(membership) ?? membership
    }
}
