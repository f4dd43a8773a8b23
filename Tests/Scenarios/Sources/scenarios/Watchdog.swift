import Glibc
import Synchronization

/// A scenario that hangs ends the program and is named.
enum Watchdog {
    private static let limit: Duration = .seconds(90)
    private static let watched = Mutex<(title: String, start: ContinuousClock.Instant)?>(nil)

    static func watch(_ title: String) {
        let isFirst = watched.withLock { watched in
            defer { watched = (title, ContinuousClock.now) }
            return watched == nil
        }
        if isFirst { startThread(look) }
    }

    @Sendable private static func look() {
        while true {
            sleep(1)
            guard let (title, start) = watched.withLock({ $0 }), ContinuousClock.now - start > limit else { continue }
            say("FAILED \(title): hangs")
            exit(1)
        }
    }
}
