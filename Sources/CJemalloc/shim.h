// Exists so that SwiftPM links jemalloc when the trait "Jemalloc" is on. Only the C core includes its header.
