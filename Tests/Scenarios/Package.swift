// swift-tools-version: 6.2
import PackageDescription

// What `make kernels` runs on other kernels: a package of its own that uses the library as a service would, and nothing but
// the library and Glibc, so that little has to be carried into the machine it runs on.
let package = Package(
    name: "transport-scenarios",
    dependencies: [.package(name: "swift-transport", path: "../..")],
    targets: [
        .executableTarget(
            name: "scenarios", dependencies: [.product(name: "SwiftTransport", package: "swift-transport")])
    ],
    swiftLanguageModes: [.v6]
)
