import Glibc

/// Forbids io_uring to this process, as Docker's seccomp profile does: io_uring_setup(2) fails with EPERM. For exit tests
/// only: there is no way back.
enum Seccomp {
    static func forbidURing(error: Int32 = EPERM) {
        // What Glibc's module leaves out, because it is variadic.
        typealias SystemCall = @convention(c) (Int, UInt, UInt, UInt, UInt, UInt) -> Int
        let call = unsafeBitCast(dlsym(nil, "syscall"), to: SystemCall.self)
        let program = [
            Instruction(code: loadWord, k: 0),  // the number of the system call
            Instruction(code: jumpIfEqual, jumpTrue: 0, jumpFalse: 1, k: ioUringSetup),
            Instruction(code: returnValue, k: 0x0005_0000 | UInt32(error)),  // SECCOMP_RET_ERRNO
            Instruction(code: returnValue, k: 0x7FFF_0000),  // SECCOMP_RET_ALLOW
        ]
        let result = program.withUnsafeBufferPointer { instructions in
            var header = Program(count: UInt16(instructions.count), instructions: instructions.baseAddress)
            return withUnsafePointer(to: &header) { header in
                let noNewPrivileges = call(prctlNumber, 38, 1, 0, 0, 0)
                precondition(noNewPrivileges == 0)
                // SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_TSYNC: for all threads there are.
                return call(seccompNumber, 1, 1, UInt(bitPattern: header), 0, 0)
            }
        }
        precondition(result == 0, "no filter could be installed")
    }

    private struct Instruction {
        var code: UInt16
        var jumpTrue: UInt8 = 0
        var jumpFalse: UInt8 = 0
        var k: UInt32
    }
    private struct Program {
        var count: UInt16
        var instructions: UnsafePointer<Instruction>?
    }

    private static let loadWord: UInt16 = 0x20
    private static let jumpIfEqual: UInt16 = 0x15
    private static let returnValue: UInt16 = 0x06
    private static let ioUringSetup: UInt32 = 425
    #if arch(x86_64)
        private static let prctlNumber = 157
        private static let seccompNumber = 317
    #else
        private static let prctlNumber = 167
        private static let seccompNumber = 277
    #endif
}
