# Every target installs what it needs and this machine lacks (Scripts/dependencies), and needs nothing else but Swift.

# A crash must end a run with its message, not leave the backtracer waiting.
export SWIFT_BACKTRACE = enable=no

# Warnings are errors.
STRICT = -Xswiftc -warnings-as-errors -Xcc -Werror
# For the C core the compiler's own sanitizer is enough, and trapping needs no runtime. SwiftPM has no such sanitizer for Swift.
UNDEFINED = -Xcc -fsanitize=undefined,nullability -Xcc -fsanitize-trap=undefined,nullability
# What the tests are built with, and what else looks at the library in a build of its own: .ci/run has one strict build for all.
FLAGS =
CHECKED = --scratch-path .build-check

SANITIZED = swift $(1) --disable-default-traits -c release -Xswiftc -enable-testing

# Torture: how long on each engine, and further arguments such as --seed 1 or --engine epoll.
SECONDS = 60
TORTURE = swift build --product torture -c release
TORTURE_ARGUMENTS =

.PHONY: help bench test test-without-uring check dependencies format rooms warnings holes packages readme docs asan tsan ubsan torture torture-asan torture-tsan kernels

help:
	@echo 'make bench   an echo service on SwiftTransport beside SwiftNIO and hand-written C: about two minutes after the build'
	@echo 'make test    all tests, and the counts of allocations and references in an optimised build'
	@echo 'make test-without-uring   all tests where io_uring is forbidden'
	@echo 'make torture SECONDS=60   hostile sessions at random on each engine, every byte checked; TORTURE_ARGUMENTS="--seed 1" repeats'
	@echo 'make sim SEEDS=2000   services at random in simulated networks; make sim SEED=n repeats one of them, bit by bit'
	@echo 'make torture-asan, make torture-tsan   the same under the address and the thread sanitizer'
	@echo 'make kernels   boots Linux 6.1 and 6.12 under QEMU, runs scenarios and torture on each: ten minutes; KERNELS="6.1 7.3" for others'
	@echo 'make namespaces   ten thousand slow peers, reset storms, black holes, killed processes, each in network namespaces: a minute'
	@echo 'make docs    the documentation: comments of all public symbols, and articles'
	@echo 'make check   formatter, unsafe words, warnings as errors, what must not compile, what the documentation shows, address, thread and undefined-behaviour sanitizers, namespaces'

dependencies:
	@Scripts/dependencies

bench: dependencies
	swift build --package-path Benchmarks -c release
	Benchmarks/.build/release/transport-bench compare --quick

# Only optimised code is free of allocations and reference counts; a scratch path of its own keeps the two builds from
# undoing each other.
test: dependencies
	swift test $(FLAGS)
	swift test -c release -Xswiftc -enable-testing --filter 'AllocationTests|ReferenceCountTests|MisuseTests' \
		--scratch-path .build-release
	.build-release/release/torture --seeds 1-2000 --repeated yes --shrink yes
	.build-release/release/torture --pinned Tests/Torture/Seeds
	@Scripts/dependencies namespaces
	.build-release/release/namespaces --short yes

# The same tests where io_uring is forbidden, as in most containers: everything must work on epoll.
test-without-uring: dependencies
	mkdir -p .build
	clang -O2 -Wall -o .build/without-io-uring Scripts/without-io-uring.c
	SWIFT_TRANSPORT_EXPECT_NO_URING=1 .build/without-io-uring swift test $(FLAGS)

check: format rooms warnings holes packages readme docs asan tsan ubsan

# The version is part of the format: others lay some things out differently.
CLANG_FORMAT = clang-format-19
C_SOURCES = $(shell find Sources Tests Benchmarks/Sources Scripts -name '*.[ch]' -not -path '*/.build*')

format:
	@Scripts/dependencies format
	swift format lint --strict --parallel --recursive Package.swift Sources Tests Examples/Package.swift Examples/Sources Examples/Tests \
		Benchmarks/Package.swift Benchmarks/Sources
	$(CLANG_FORMAT) --dry-run --Werror $(C_SOURCES)
	@if grep -nE '^.{133}' $(C_SOURCES); then echo 'these lines have more than 132 characters' >&2; exit 1; fi

# The words that promise what the compiler cannot see stand only in the files that own them.
rooms:
	@Scripts/rooms

warnings: dependencies
	swift build --build-tests $(CHECKED) $(STRICT)

# What would let two threads at a handler or a context: the compiler must refuse it.
holes: dependencies
	Scripts/holes $(CHECKED)

# The packages of their own, and the test that one of them shows.
packages: dependencies
	swift build --package-path Benchmarks
	swift test --package-path Examples
	swift build --package-path Tests/Scenarios

# Every listing of the README and the articles, as it stands there.
readme: dependencies
	Scripts/readme-example

# Comments and articles, by the toolchain's docc. A warning is an error.
docs: dependencies
	Scripts/documentation $(CHECKED)

# Optimised, because the accesses of debug builds happen in the uninstrumented standard library. Without jemalloc, which
# no sanitizer supports. Leaks are not looked for: XCTest has some of its own.
asan: dependencies
	ASAN_OPTIONS=detect_leaks=0 $(call SANITIZED,test) --sanitize=address --scratch-path .build-asan

# What happens in libraries that are not instrumented, Scripts/tsan-sees.c tells; it is for the tests, not for the compiler.
tsan: dependencies
	mkdir -p .build-tsan
	clang -O2 -Wall -Wextra -Werror -shared -fPIC -o .build-tsan/tsan-sees.so Scripts/tsan-sees.c
	$(call SANITIZED,build --build-tests) --sanitize=thread --scratch-path .build-tsan
	TSAN_OPTIONS=suppressions=$(CURDIR)/Scripts/tsan.supp LD_PRELOAD=$(CURDIR)/.build-tsan/tsan-sees.so \
		$(call SANITIZED,test --skip-build) --sanitize=thread --scratch-path .build-tsan

ubsan: dependencies
	swift test --disable-default-traits --scratch-path .build-ubsan $(UNDEFINED)

# Services at random in simulated networks, everything that happens decided by a seed: SEEDS of them from FROM on, or the one SEED.
# What fails is made smaller, and the command that is printed then, with SIM, is what is left of it.
SEEDS = 2000
FROM = 1
SEED =
SIM =
# What share of the library the tests run; fails when it is too little. Ten minutes.
.PHONY: coverage
coverage: dependencies
	Scripts/coverage

.PHONY: sim
sim: dependencies
	$(TORTURE)
	.build/release/torture --shrink yes --seeds $(if $(SEED),$(SEED)-$(SEED),$(FROM)-$(shell echo $$(($(FROM) + $(SEEDS) - 1)))) $(SIM)

# Whether they find what is wrong: bugs planted on purpose, 2,000 seeds for each at most.
.PHONY: sim-mutants
sim-mutants: dependencies
	Scripts/planted pinned
	Scripts/planted

torture: dependencies
	$(TORTURE)
	.build/release/torture --seconds $(SECONDS) $(TORTURE_ARGUMENTS)

# As the tests under the sanitizers; more patience, because everything is slow.
torture-asan: dependencies
	$(TORTURE) --disable-default-traits --sanitize=address --scratch-path .build-torture-asan
	ASAN_OPTIONS=detect_leaks=0 \
		.build-torture-asan/release/torture --seconds $(SECONDS) --patience 120 $(TORTURE_ARGUMENTS)

torture-tsan: dependencies
	mkdir -p .build-tsan
	clang -O2 -Wall -Wextra -Werror -shared -fPIC -o .build-tsan/tsan-sees.so Scripts/tsan-sees.c
	$(TORTURE) --disable-default-traits --sanitize=thread --scratch-path .build-torture-tsan
	TSAN_OPTIONS=suppressions=$(CURDIR)/Scripts/tsan.supp LD_PRELOAD=$(CURDIR)/.build-tsan/tsan-sees.so \
		.build-torture-tsan/release/torture --seconds $(SECONDS) --patience 120 $(TORTURE_ARGUMENTS)

# What goes wrong in networks, on this kernel: the service in a network namespace of its own. Without the right to make one it says
# that it was skipped. NAMESPACES="--only reset --engine epoll" for less.
NAMESPACES =
.PHONY: namespaces
check: namespaces
namespaces: dependencies
	@Scripts/dependencies namespaces
	swift build --product namespaces -c release
	.build/release/namespaces $(NAMESPACES)

# Other kernels than this machine's, with both engines: see the script for what may be set.
kernels:
	Scripts/kernels

# What the library shows to the world, as Documentation/PublicAPI.txt has it: shows what the sources add and break, and fails
# until the list is renewed; also when a public symbol has no documentation.
.PHONY: api api-check
check: api-check
api-check: dependencies
	@Scripts/dependencies api
	Scripts/public-api check $(CHECKED)

# Renews the list. What changed in it belongs into CHANGELOG.md.
api: dependencies
	@Scripts/dependencies api
	Scripts/public-api renew $(CHECKED)
