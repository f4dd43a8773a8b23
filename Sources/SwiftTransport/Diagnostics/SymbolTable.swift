#if DEBUG
    internal import Glibc

    /// The names of this program's functions and types, its private ones included, as they stand in its file. Debug builds have
    /// them; a program that was stripped has none.
    final class SymbolTable: Sendable {
        /// An entry of the table: `Elf64_Sym`.
        private struct Symbol {
            let name: UInt32
            let info: UInt8
            let other: UInt8
            let section: UInt16
            let value: UInt64
            let size: UInt64
        }
        /// A table of strings or symbols in the file: `Elf64_Shdr`.
        private struct Section {
            let name: UInt32
            let type: UInt32
            let flags: UInt64
            let address: UInt64
            let offset: UInt64
            let size: UInt64
            let link: UInt32
            let info: UInt32
            let alignment: UInt64
            let entrySize: UInt64

            static let symbols: UInt32 = 2
        }

        /// `nil` without a file, or names in it.
        static let ofProgram = SymbolTable(path: "/proc/self/exe")

        nonisolated(unsafe) private let symbols: UnsafeBufferPointer<Symbol>
        nonisolated(unsafe) private let strings: UnsafeBufferPointer<CChar>

        /// The file stays mapped for as long as the program runs, and costs no descriptor.
        private init?(path: String) {
            guard let file = Self.map(path) else { return nil }
            guard file.count >= 64, file.starts(with: [0x7F, 0x45, 0x4C, 0x46, 2]) else { return nil }
            let offset = Int(file.load(fromByteOffset: 0x28, as: UInt64.self))
            let count = Int(file.load(fromByteOffset: 0x3C, as: UInt16.self))
            let sections: UnsafeBufferPointer<Section> = Self.part(of: file, offset, count * MemoryLayout<Section>.size)
            guard let table = sections.first(where: { $0.type == Section.symbols }), table.link < sections.count else {
                return nil
            }
            let names = sections[Int(table.link)]
            symbols = Self.part(of: file, Int(table.offset), Int(table.size))
            strings = Self.part(of: file, Int(names.offset), Int(names.size))
            // Every name then ends within the strings.
            guard !symbols.isEmpty, strings.last == 0 else { return nil }
        }

        private static func map(_ path: String) -> UnsafeRawBufferPointer? {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { return nil }
            defer { _ = close(descriptor) }
            var status = stat()
            guard fstat(descriptor, &status) == 0,
                let start = mmap(nil, Int(status.st_size), PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED
            else { return nil }
            return UnsafeRawBufferPointer(start: start, count: Int(status.st_size))
        }

        /// Nothing when it is not within the file, or not where such things begin.
        private static func part<Element>(
            of file: UnsafeRawBufferPointer, _ offset: Int, _ size: Int
        ) -> UnsafeBufferPointer<Element> {
            guard let base = file.baseAddress, offset >= 0, size >= 0, offset <= file.count,
                size <= file.count - offset,
                offset % MemoryLayout<Element>.alignment == 0
            else { return UnsafeBufferPointer(start: nil, count: 0) }
            return UnsafeBufferPointer(
                start: (base + offset).assumingMemoryBound(to: Element.self), count: size / MemoryLayout<Element>.stride
            )
        }

        /// The name of what stands at `address`, as the compiler made it.
        func name(at address: UnsafeRawPointer) -> String? {
            // What the linker calls the place that the compiler knows by this word.
            guard let anchor = first(where: { strcmp($0, "__dso_handle") == 0 }) else { return nil }
            let value = UInt64(UInt(bitPattern: address)) &- UInt64(UInt(bitPattern: #dsohandle)) &+ anchor.value
            guard let symbol = symbols.first(where: { $0.value == value && $0.section != 0 }) else { return nil }
            return name(of: symbol).map { String(cString: $0) }
        }

        /// All names that begin with `prefix`.
        func names(beginningWith prefix: String) -> [String] {
            let length = prefix.utf8.count
            return symbols.compactMap { symbol in
                guard let name = name(of: symbol), strncmp(name, prefix, length) == 0 else { return nil }
                return String(cString: name)
            }
        }

        private func first(where matches: (UnsafePointer<CChar>) -> Bool) -> Symbol? {
            symbols.first { symbol in name(of: symbol).map(matches) ?? false }
        }

        private func name(of symbol: Symbol) -> UnsafePointer<CChar>? {
            symbol.name < strings.count ? strings.baseAddress.map { $0 + Int(symbol.name) } : nil
        }
    }
#endif
