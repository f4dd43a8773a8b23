import TortureKit

@main
struct Program {
    static func main() async { await Torture.main() }
}
