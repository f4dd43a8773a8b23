// A graceful shutdown of the loop or of the listener, as one of its channels sees it.
extension Channel {
    func beginLeaving(_ departure: Departure) {
        guard own.lifecycle.phase != .closed else { return }
        let ending = ensureEnding()
        departure.joined()
        ending.departures.append(departure)
        // Who has heard of one shutdown need not hear of the next.
        if ending.departures.count > 1, own.lifecycle.isActive { return }
        if own.lifecycle.isActive || own.lifecycle.phase == .opening { ending.wasIdle = own.queue == nil }
        perform(own.lifecycle.on(.shutdown))
        // Somebody has work under way.
        if own.lifecycle.isActive { ending.wasIdle = false }
    }

    /// To the next handler from `start` on that wants to know; behind the last one the channel closes.
    func tellShutdown(from start: PipelineLink) {
        let isTold = start.call(.shutdown) { $0.handler.shutdownBegan($0) }
        guard !isTold, own.lifecycle.isActive else { return }
        noteEnd()
        // The shutdown's own deadline limits it.
        perform(own.lifecycle.on(.drain))
    }

    func tellDepartures(of ending: ChannelEnding) {
        guard !ending.departures.isEmpty else { return }
        var report = ShutdownReport()
        if ending.wasCutOff {
            report.channelsCutOff = 1
            report.bytesDropped = ending.bytesDropped
        } else if ending.wasIdle {
            report.channelsIdle = 1
        } else {
            report.channelsFinished = 1
        }
        let departures = ending.departures
        ending.departures = []
        for departure in departures { departure.left(report) }
    }
}
