import Testing

@testable import SwiftTransport

/// What every event makes of every phase of a channel's life, and what follows from it for all the ways a life can take.
struct ChannelLifecycleTests {
    typealias Phase = ChannelLifecycle.Phase
    typealias Event = ChannelLifecycle.Event
    typealias Action = ChannelLifecycle.Action

    /// From these phases to that one, and what is done. `nil`: stays what it was.
    struct Rule {
        let from: [Phase]
        let to: Phase?
        let action: Action
        init(_ from: [Phase], _ to: Phase?, _ action: Action) {
            self.from = from
            self.to = to
            self.action = action
        }
    }

    static let active: [Phase] = [
        .open, .inputEnded, .outputEnding, .outputEndingInputEnded, .outputEnded, .bothEnded,
    ]
    static let ending: [Phase] = [.draining, .drainingInputEnded, .breaking, .awaitingPeer, .delivering]
    static let over: [Phase] = [.closing, .resetting, .closed]

    static let table: [(event: Event, rules: [Rule])] = [
        (
            .connected,
            [
                Rule([.opening], .open, .activate), Rule(active + ending, nil, .impossible), Rule(over, nil, .nothing),
            ]
        ),
        (
            .inputEnded,
            [
                Rule([.open], .inputEnded, .tellInputEnded),
                Rule([.outputEnding], .outputEndingInputEnded, .tellInputEnded),
                Rule([.outputEnded], .bothEnded, .tellInputEnded),
                Rule([.draining], .drainingInputEnded, .goOn),
                Rule([.awaitingPeer], .closing, .tearDown),
                Rule([.breaking, .delivering] + over, nil, .nothing),
                Rule(
                    [.opening, .inputEnded, .outputEndingInputEnded, .bothEnded, .drainingInputEnded], nil, .impossible),
            ]
        ),
        (
            .outputEnds,
            [
                Rule([.open], .outputEnding, .flushAndEndOutput),
                Rule([.inputEnded], .outputEndingInputEnded, .flushAndEndOutput),
                Rule(
                    [.opening, .outputEnding, .outputEndingInputEnded, .outputEnded, .bothEnded] + ending + over, nil,
                    .nothing),
            ]
        ),
        (
            .sent,
            [
                Rule([.outputEnding], .outputEnded, .endOutput),
                Rule([.outputEndingInputEnded, .drainingInputEnded], .closing, .tearDown),
                Rule([.draining], .awaitingPeer, .endOutputAndAwaitPeer),
                Rule([.breaking], .delivering, .awaitDelivery), Rule([.delivering], nil, .awaitDelivery),
                Rule([.awaitingPeer], nil, .awaitPeer),
                Rule([.opening, .open, .inputEnded, .outputEnded, .bothEnded] + over, nil, .nothing),
            ]
        ),
        (
            .drain,
            [
                Rule([.open, .outputEnding], .draining, .drain),
                Rule([.inputEnded, .outputEndingInputEnded], .drainingInputEnded, .drain),
                Rule([.outputEnded], .awaitingPeer, .drain), Rule([.opening, .bothEnded], .closing, .tearDown),
                Rule(ending, nil, .limit), Rule(over, nil, .nothing),
            ]
        ),
        (
            .close(resets: false),
            [
                Rule([.opening, .draining, .drainingInputEnded, .awaitingPeer] + active, .closing, .tearDown),
                Rule([.breaking, .delivering], .resetting, .tearDown), Rule(over, nil, .nothing),
            ]
        ),
        (
            .close(resets: true),
            [
                Rule([.opening] + active + ending, .resetting, .tearDown), Rule([.closing], .resetting, .reset),
                Rule([.resetting, .closed], nil, .nothing),
            ]
        ),
        (
            .hole,
            [
                Rule(
                    [.open, .inputEnded, .outputEnding, .outputEndingInputEnded, .draining, .drainingInputEnded],
                    .breaking, .stopTaking),
                Rule([.outputEnded, .bothEnded, .breaking, .awaitingPeer, .delivering], nil, .nothing),
                Rule([.opening] + over, nil, .impossible),
            ]
        ),
        (
            .delivered,
            [
                Rule([.awaitingPeer], .closing, .tearDown), Rule([.delivering], .resetting, .tearDown),
                Rule([.opening, .draining, .drainingInputEnded, .breaking] + active + over, nil, .impossible),
            ]
        ),
        (
            .timeIsOver(kernelReadsOurMemory: false),
            [
                Rule([.awaitingPeer], .closing, .tearDown),
                Rule(
                    [.opening, .draining, .drainingInputEnded, .breaking, .delivering] + active, .resetting, .cutOff),
                Rule([.closing], .resetting, .reset), Rule([.resetting, .closed], nil, .nothing),
            ]
        ),
        (
            .timeIsOver(kernelReadsOurMemory: true),
            [
                Rule([.opening] + active + ending, .resetting, .cutOff), Rule([.closing], .resetting, .reset),
                Rule([.resetting, .closed], nil, .nothing),
            ]
        ),
        (
            .shutdown,
            [
                Rule([.opening], .closing, .tearDown), Rule(active, nil, .tellShutdown), Rule(ending, nil, .goOn),
                Rule(over, nil, .nothing),
            ]
        ),
        (
            .released,
            [
                Rule([.closing, .resetting], .closed, .finish),
                Rule([.opening, .closed] + active + ending, nil, .impossible),
            ]
        ),
    ]

    @Test func everyPairOfPhaseAndEventLeadsWhereTheTableSays() {
        for (event, rules) in Self.table {
            #expect(rules.flatMap(\.from).sorted { $0.rawValue < $1.rawValue } == Phase.allCases, "\(event)")
            for rule in rules {
                for phase in rule.from {
                    let (next, action) = ChannelLifecycle(phase).transition(event)
                    #expect(next == rule.to ?? phase && action == rule.action, "\(event) while \(phase)")
                }
            }
        }
    }

    /// A way that a life can take so far.
    private struct Life: Hashable {
        var phase = Phase.opening
        var wasConnected = false
        var endsOfStream = 0
        var tearDowns = 0
        var ends = 0
    }

    /// All lives, whatever comes in whatever order: as far as counting goes.
    private func allLives() -> Set<Life> {
        var seen: Set<Life> = [Life()]
        var left = [Life()]
        while let life = left.popLast() {
            for (event, _) in Self.table {
                let (next, action) = ChannelLifecycle(life.phase).transition(event)
                if action == .impossible { continue }
                var changed = life
                changed.phase = next
                switch action {
                case .activate: changed.wasConnected = true
                case .endOutput, .endOutputAndAwaitPeer: changed.endsOfStream += 1
                case .tearDown, .cutOff: changed.tearDowns += 1
                case .finish: changed.ends += 1
                default: break
                }
                if seen.insert(changed).inserted { left.append(changed) }
            }
        }
        return seen
    }

    @Test func everyLifeHasOneEnd() {
        let lives = allLives()
        #expect(Set(lives.map(\.phase)) == Set(Phase.allCases))
        for life in lives {
            #expect(life.endsOfStream <= 1 && life.tearDowns <= 1 && life.ends <= 1, "\(life)")
            #expect((life.tearDowns == 1) == (life.phase.rawValue >= Phase.closing.rawValue), "\(life)")
            #expect((life.ends == 1) == (life.phase == .closed), "\(life)")
        }
    }

    /// Nothing leads back: what takes no writes never takes any again, and so on.
    @Test func nothingLeadsBack() {
        for phase in Phase.allCases {
            let before = ChannelLifecycle(phase)
            for (event, _) in Self.table {
                let (next, action) = before.transition(event)
                if action == .impossible { continue }
                let after = ChannelLifecycle(next)
                #expect(before.takesWrites || phase == .opening || !after.takesWrites, "\(event) while \(phase)")
                #expect(before.isActive || phase == .opening || !after.isActive, "\(event) while \(phase)")
                #expect(before.sends || phase == .opening || !after.sends, "\(event) while \(phase)")
                #expect(before.isInputOpen || !after.isInputOpen, "\(event) while \(phase)")
                #expect(!before.isOver || after.isOver, "\(event) while \(phase)")
            }
        }
    }

    @Test func everyPhaseAnswersTheQuestions() {
        for phase in Phase.allCases {
            let life = ChannelLifecycle(phase)
            #expect(life.isActive == Self.active.contains(phase))
            #expect(life.takesWrites == [.open, .inputEnded].contains(phase))
            #expect(life.isDraining == Self.ending.contains(phase))
            #expect(life.sends == (Self.active + Self.ending).contains(phase))
            #expect(life.isOver == Self.over.contains(phase))
            #expect(
                life.isInputOpen
                    == [.opening, .open, .outputEnding, .outputEnded, .draining, .awaitingPeer].contains(phase))
        }
    }

    /// It lies in every channel.
    @Test func aLifecycleIsSmall() { #expect(MemoryLayout<ChannelLifecycle>.size == 2) }
}
