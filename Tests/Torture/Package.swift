// swift-tools-version: 6.2
import PackageDescription

// A package of its own: it uses the library exactly as a service would, and nothing but the library and Glibc, so that it
// also links statically and runs on a bare kernel.
let package = Package(
    name: "transport-torture",
    products: [.executable(name: "torture", targets: ["torture"])],
    traits: [
        .trait(name: "Jemalloc", description: "As the library's own trait: off for sanitizers."),
        .default(enabledTraits: ["Jemalloc"]),
    ],
    dependencies: [
        .package(
            name: "swift-transport", path: "../..",
            traits: [.trait(name: "Jemalloc", condition: .when(traits: ["Jemalloc"]))])
    ],
    targets: [
        .executableTarget(
            name: "torture",
            dependencies: [.product(name: "SwiftTransport", package: "swift-transport")])
    ],
    swiftLanguageModes: [.v6]
)
