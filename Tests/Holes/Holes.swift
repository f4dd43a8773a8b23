// What belongs to a loop cannot be had elsewhere: `Scripts/holes` compiles this file once as it stands, which must give no
// warning, and once with each of the conditions, which must give the error that stands behind it.
import SwiftTransport
import Synchronization

final class State { var number = 0 }
final class Counting: ChannelHandler { var items: [Int] = [] }
final class Sharing: ChannelHandler {
    let state: State
    init(_ state: State) { self.state = state }
}
final class Named: ChannelHandler { init(_ name: String) {} }
final class Box { var context: ChannelContext? }
final class Kept: Sendable {
    let context = Mutex<ChannelContext?>(nil)
    let handler = Mutex<(any ChannelHandler)?>(nil)
}

// MARK: Ordinary use

func factories(_ server: ServerBootstrap, _ client: ClientBootstrap, _ name: String) {
    _ = server.childHandlers { [BackPressureHandler(), Named(name)] }
    _ = server.childHandlers {
        let state = State()
        return [Sharing(state), Sharing(state)]
    }
    _ = server.childHandlers {
        var all: [any ChannelHandler] = [BackPressureHandler()]
        if !name.isEmpty { all.append(Named(name)) }
        return all
    }
    _ = client.handlers { someHandlers() + [Counting()] }
}
func someHandlers() -> [any ChannelHandler] { [Counting()] }
func wrapped(_ server: ServerBootstrap, _ make: @escaping @Sendable () -> sending [any ChannelHandler]) {
    _ = server.childHandlers(make).childOptions(.noDelay(true))
}

func adding(_ channel: Channel) -> Int? {
    let handler = Counting()
    handler.items = [1]
    channel.pipeline.addLast(handler)
    channel.pipeline.withContext(of: Counting.self) { channel.pipeline.remove($0) }
    return channel.pipeline.withContext(of: Counting.self) { context in
        context.add(Named("behind"), .behind)
        return (context.handler as? Counting)?.items.count ?? 0
    }
}

final class Negotiating: ChannelHandler {
    private let state = State()
    func channelActive(_ context: ChannelContext) {
        context.add(Sharing(state), .behind)
        context.add(self, .last)
        context.context(of: Sharing.self)?.fireUserEvent(1)
        context.channel.pipeline.addFirst(Counting())
        context.channel.pipeline.remove(context)
    }
}

final class Waiting: ChannelHandler {
    private let state = State()
    private var timer: HandlerTimer?
    func channelActive(_ context: ChannelContext) {
        timer = context.schedule(after: .seconds(1)) { [state] context in
            state.number += 1
            context.close()
        }
        context.execute { _ in self.timer?.cancel() }
        let me = LoopBound(self, in: context)
        Task.detached { me.eventLoop.execute { me.withValue { $0.answered() } } }
    }
    private func answered() { state.number += 1 }
}

// MARK: Handlers that somebody else has too

#if ADD_LAST  // sending value of non-Sendable type 'Counting' risks
    func addLast(_ channel: Channel) {
        let handler = Counting()
        channel.pipeline.addLast(handler)
        handler.items = []
    }
#endif
#if ADD_FIRST  // sending value of non-Sendable type 'Counting' risks
    func addFirst(_ channel: Channel) {
        let handler = Counting()
        channel.pipeline.addFirst(handler)
        handler.items = []
    }
#endif
#if ADD_TWICE  // sending value of non-Sendable type 'Counting' risks
    func addTwice(_ one: Channel, _ other: Channel) {
        let handler = Counting()
        one.pipeline.addLast(handler)
        other.pipeline.addLast(handler)
    }
#endif
#if ADD_BEHIND  // sending value of non-Sendable type 'Counting' risks
    func addBehind(_ context: ChannelContext, _ handler: Counting) {
        context.channel.pipeline.add(handler, behind: context)
    }
#endif
#if ADD_CAPTURED  // capture of 'handler' with non-Sendable type 'Counting'
    func addCaptured(_ channel: Channel) {
        let handler = Counting()
        channel.pipeline.withContext(of: Counting.self) { $0.add(handler, .last) }
    }
#endif
#if SHARED_STATE  // sending value of non-Sendable type 'Sharing' risks
    func sharedState(_ channel: Channel) {
        let state = State()
        channel.pipeline.addLast(Sharing(state))
        state.number += 1
    }
#endif
#if ADD_SELF  // sending value of non-Sendable type 'AddsItself' risks
    final class AddsItself: ChannelHandler {
        func channelActive(_ context: ChannelContext) { context.channel.pipeline.addLast(self) }
    }
#endif
#if FACTORY_OF_SERVER  // capture of 'handler' with non-Sendable type 'Counting'
    func factory(_ server: ServerBootstrap) {
        let handler = Counting()
        _ = server.childHandlers { [handler] }
    }
#endif
#if FACTORY_OF_CLIENT  // capture of 'handler' with non-Sendable type 'Counting'
    func factory(_ client: ClientBootstrap) {
        let handler = Counting()
        _ = client.handlers { [handler] }
    }
#endif
#if FACTORY_KEEPS  // 'inout sending' parameter '$0' cannot be task-isolated
    func factoryKeeps(_ client: ClientBootstrap, _ kept: Kept) {
        _ = client.handlers {
            let handler = Counting()
            kept.handler.withLock { $0 = handler }
            return [handler]
        }
    }
#endif
#if FACTORY_UNCHECKED  // converting a value of type '@Sendable () -> [any ChannelHandler]'
    func factoryUnchecked(_ server: ServerBootstrap, _ make: @escaping @Sendable () -> [any ChannelHandler]) {
        _ = server.childHandlers(make)
    }
#endif
#if ISOLATED  // cannot form main actor-isolated conformance of 'Isolated' to SendableMetatype-inheriting protocol
    @MainActor final class Isolated: @MainActor ChannelHandler {
        var number = 0
        func channelActive(_ context: ChannelContext) { number += 1 }
    }
#endif

// MARK: Contexts elsewhere

#if CONTEXT_RETURNED  // type 'ChannelContext' does not conform to the 'Sendable' protocol
    func returned(_ channel: Channel) -> ChannelContext? { channel.pipeline.withContext(of: Counting.self) { $0 } }
#endif
#if HANDLER_RETURNED  // type 'any ChannelHandler' does not conform to the 'Sendable' protocol
    func returned(_ channel: Channel) { _ = channel.pipeline.withContext(of: Counting.self) { $0.handler } }
#endif
#if CONTEXT_IN_A_VARIABLE  // capture of 'kept' with non-Sendable type 'ChannelContext?'
    func variable(_ channel: Channel) {
        var kept: ChannelContext?
        channel.pipeline.withContext(of: Counting.self) { kept = $0 }
        kept?.flush()
    }
#endif
#if CONTEXT_IN_AN_OBJECT  // capture of 'box' with non-Sendable type 'Box'
    func object(_ channel: Channel) {
        let box = Box()
        channel.pipeline.withContext(of: Counting.self) { box.context = $0 }
        box.context?.flush()
    }
#endif
#if CONTEXT_IN_A_MUTEX  // 'inout sending' parameter '$0' cannot be task-isolated
    func mutex(_ channel: Channel, _ kept: Kept) {
        channel.pipeline.withContext(of: Counting.self) { context in kept.context.withLock { $0 = context } }
    }
#endif
#if OTHER_CONTEXT_IN_A_MUTEX  // 'inout sending' parameter '$0' cannot be task-isolated
    func otherMutex(_ channel: Channel, _ kept: Kept) {
        channel.pipeline.withContext(of: Counting.self) { context in
            kept.context.withLock { $0 = context.context(of: Sharing.self) }
        }
    }
#endif
#if HANDLER_IN_A_MUTEX  // 'inout sending' parameter '$0' cannot be task-isolated
    func handlerMutex(_ channel: Channel, _ kept: Kept) {
        channel.pipeline.withContext(of: Counting.self) { context in kept.handler.withLock { $0 = context.handler } }
    }
#endif
#if CONTEXT_IN_A_STREAM  // sending 'context' risks
    func stream(_ channel: Channel, _ stream: AsyncStream<ChannelContext>.Continuation) {
        channel.pipeline.withContext(of: Counting.self) { context in _ = stream.yield(context) }
    }
#endif
#if CONTEXT_IN_A_TASK  // passing closure as a 'sending' parameter risks
    func task(_ channel: Channel) {
        channel.pipeline.withContext(of: Counting.self) { context in _ = Task { context.flush() } }
    }
#endif
#if CONTEXT_OF_AN_ACTOR  // sending 'context' risks
    @MainActor final class Keeper {
        var kept: ChannelContext?
        func keep(_ channel: Channel) {
            channel.pipeline.withContext(of: Counting.self) { context in
                MainActor.assumeIsolated { self.kept = context }
            }
        }
    }
#endif
#if CONTEXT_OF_AN_EVENT  // passing closure as a 'sending' parameter risks
    final class Leaking: ChannelHandler {
        func channelActive(_ context: ChannelContext) { Task { context.flush() } }
    }
#endif
#if HANDLER_OF_AN_EVENT  // passing closure as a 'sending' parameter risks
    final class Leaking: ChannelHandler {
        var number = 0
        func channelActive(_ context: ChannelContext) { Task { number += 1 } }
    }
#endif
#if CONTEXT_EXECUTES  // capture of 'context' with non-Sendable type 'ChannelContext'
    final class Leaking: ChannelHandler {
        func channelActive(_ context: ChannelContext) { context.eventLoop.execute { context.flush() } }
    }
#endif
#if TIMER_ELSEWHERE  // passing closure as a 'sending' parameter risks
    final class Leaking: ChannelHandler {
        func channelActive(_ context: ChannelContext) {
            let timer = context.schedule(after: .seconds(1)) { $0.close() }
            Task { timer.cancel() }
        }
    }
#endif
#if BOUND_IS_KEPT  // sending 'state' risks
    func boundIsKept(_ loop: EventLoop) {
        let state = State()
        let bound = LoopBound(state, on: loop)
        state.number = bound.eventLoop.index
    }
#endif
#if BOUND_LEAVES  // passing closure as a 'sending' parameter risks
    func boundLeaves(_ bound: LoopBound<State>) { bound.withValue { state in _ = Task { state.number += 1 } } }
#endif

// MARK: Promises, bytes and answers elsewhere

#if PROMISE_IN_A_TASK  // passing closure as a 'sending' parameter risks
    final class Leaking: ChannelHandler {
        func write(_ context: ChannelContext, _ bytes: ReadBytes, promise: consuming WritePromise) {
            Task { promise.complete(nil) }
        }
    }
#endif
#if PROMISE_IS_SENDABLE  // type 'WritePromise' does not conform to the 'Sendable' protocol
    func sendable<T: Sendable & ~Copyable>(_ value: borrowing T) {}
    func promise() { sendable(WritePromise.none) }
#endif
#if BYTES_IN_A_TASK  // passing closure as a 'sending' parameter risks
    final class Leaking: ChannelHandler {
        func channelRead(_ context: ChannelContext, _ bytes: ReadBytes) { Task { print(bytes.count) } }
    }
#endif
#if ANSWER_OF_A_LOOP  // type 'Counting' does not conform to the 'Sendable' protocol
    func answer(_ loop: EventLoop) async { _ = await loop.run { Counting() } }
#endif
