// Mistakes of the program, such as a call on the wrong thread. Unlike preconditions these say in optimised builds too what is
// wrong; the few that come from a peer or the machine are errors and never end here.

/// Stops the program when `condition` does not hold.
@inline(__always)
func require(_ condition: Bool, _ mistake: @autoclosure () -> String) {
    if !condition { stop(mistake()) }
}

/// Stops the program.
@inline(never)
private func stop(_ mistake: String) -> Never { fatalError("SwiftTransport: \(mistake)") }

extension EventLoop {
    /// For operations that exist on the loop's thread only.
    ///
    /// - Parameter call: as the user knows it.
    @inline(__always)
    func requireOnLoop(_ call: StaticString = #function) {
        require(
            isCurrent,
            """
            \(call) may only be called on the thread of the event loop it belongs to, here loop \(index): use execute(_:) or \
            run(_:) of that loop, or a task on its taskExecutor
            """)
    }

    /// For what of ours only ever runs on the loop's thread: a mistake of the library, which debug builds look for. What reaches
    /// the C core from another thread stops the program in every build.
    @inline(__always)
    func assertOnLoop(_ function: StaticString = #function) {
        assert(isCurrent, "\(function) runs on another thread than that of event loop \(index)")
    }
}
