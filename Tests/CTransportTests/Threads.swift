import Glibc

/// A thread of the test's own. What it found out is handed back by `join()`, so that expectations stay in the test.
final class TestThread<Result: Sendable> {
    private final class Outcome: @unchecked Sendable {
        var result: Result?
    }
    private let outcome = Outcome()
    private var thread = pthread_t()

    init(_ body: @escaping @Sendable () -> Result) {
        let outcome = outcome
        let work = Unmanaged.passRetained(Work { outcome.result = body() })
        let created = pthread_create(&thread, nil, runWork, work.toOpaque())
        precondition(created == 0)
    }

    @discardableResult
    func join() -> Result {
        pthread_join(thread, nil)
        return outcome.result!
    }
}

private final class Work {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
}

private func runWork(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue().run()
    return nil
}

/// Lets a pointer of the C core go to another thread, where its functions say "any thread".
struct Handle<Pointer>: @unchecked Sendable {
    let pointer: Pointer
    init(_ pointer: Pointer) { self.pointer = pointer }
}

// What Glibc's module leaves out, because it is compiled without _GNU_SOURCE.

/// The kernel's number of this thread.
func threadID() -> pid_t {
    unsafeBitCast(dlsym(nil, "gettid"), to: (@convention(c) () -> pid_t).self)()
}

/// Gives this thread a descriptor table of its own: what it opens and closes from now on is nobody else's business.
/// Without a copy of the others' sockets, which would keep them open behind their owners' backs.
func unshareDescriptors() -> Int32 {
    let unshare: UInt32 = 2
    typealias CloseRange = @convention(c) (UInt32, UInt32, UInt32) -> Int32
    return unsafeBitCast(dlsym(nil, "close_range"), to: CloseRange.self)(3, .max, unshare)
}
