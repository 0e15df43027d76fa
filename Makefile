# What a person or a CI job calls. Each target installs what it lacks: Debian packages by apt
# (as root), Python packages into .venv. Nothing is written outside the tree but those packages.
#
#   make build                    the program at .venv/bin/xdpfix
#   sudo make run [ARGS="…"]      xdpfix on the default route's interface, flows on the terminal
#   sudo make test                every check and test tier; test-unit, test-bpf … one at a time
#   sudo make install             program, unit, man page, configuration (PREFIX, DESTDIR; EXTRAS=dtls for DTLS)

PREFIX ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
ARGS ?=
# The system's, where bcc is found.
PYTHON ?= /usr/bin/python3

VENV := .venv
PIP := $(VENV)/bin/pip --quiet --disable-pip-version-check
PYTEST := $(VENV)/bin/pytest
# Two at a time: tests wait more than they compute, and have namespaces and folders of their own.
WORKERS ?= 2
PYTEST_PARALLEL = $(PYTEST) --numprocesses $(WORKERS) --dist worksteal
# Absolute and first: meson, ninja and cffi-gen-src come from the virtual environment (Debian's meson
# is older than we need), also when an editable install rebuilds itself on import.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_ROOT_USER_ACTION := ignore
# With sudo, git reads a tree that belongs to someone else.
export GIT_CONFIG_COUNT := 1
export GIT_CONFIG_KEY_0 := safe.directory
export GIT_CONFIG_VALUE_0 := $(CURDIR)

# clang makes the BPF object, llvm strips its debug sections, gcc the extension modules.
BUILD_PACKAGES := clang llvm gcc libc6-dev make pkg-config patchelf python3 python3-dev python3-venv \
	libbpf-dev libelf-dev zlib1g-dev libxxhash-dev libpcap-dev iproute2
# The second loader compiles on the host. PyPI's "bcc" is an unrelated package.
BCC_PACKAGES := python3-bpfcc
# What the tests of the kernel side call; with that, all that vagrant/run-tests.sh needs.
# (Ubuntu's bpftool comes with each kernel.)
BPFTOOL := bpftool
MACHINE_PACKAGES := $(BPFTOOL) ethtool kmod openvswitch-switch procps util-linux
# Collectors and datapaths that we are tested against (dpdk-dev has testpmd), and tools that the other tests call.
PEER_PACKAGES := dpdk-dev nfdump pmacct tshark libfixbuf-tools
TOOL_PACKAGES := dpkg-dev git libclang-rt-dev mandoc systemd tcpdump valgrind
# Machines with Debian's kernels, whose packages are unpacked aside, and XDP programs that only these take.
VM_PACKAGES := qemu-system-x86 busybox-static xdp-tools
# What `make bench` measures with, and beside.
BENCH_PACKAGES := $(BCC_PACKAGES) ethtool nfdump openvswitch-switch pmacct procps softflowd util-linux
# Judges vagrant/Vagrantfile, for which it needs no virtual machine.
VAGRANT_PACKAGES := vagrant vagrant-libvirt

TIERS := test-unit test-native test-bpf test-netns test-peers test-fuzz test-packaging test-perf test-vm
HEADERS := .state/kernel-headers
KERNELS := .state/kernels/6.1 .state/kernels/6.12
# Captures that the parser is run over, from Debian's source packages (apt-get source wants dpkg-dev).
CAPTURES := .state/captures/tcpdump .state/captures/ndpi
# Read by bcc; the kernel under test need not have a headers package.
TEST_ENV := BCC_KERNEL_SOURCE=$(CURDIR)/$(HEADERS)

.PHONY: bench bench-vm build counts run test lint $(TIERS) install uninstall clean build-packages test-packages machine-packages \
	vm-packages

# Sources are not listed: an editable install compiles what changed when it is imported. Here, and not by every worker
# of the tests at once.
build: build-packages .state/built
	@$(VENV)/bin/python -c 'import exporter._native, sampler._native'

build-packages:
	@scripts/install-packages $(BUILD_PACKAGES)

test-packages: build-packages
	@scripts/install-packages $(BCC_PACKAGES) $(MACHINE_PACKAGES) $(PEER_PACKAGES) $(TOOL_PACKAGES)

machine-packages: build-packages
	@scripts/install-packages $(BCC_PACKAGES) $(MACHINE_PACKAGES)

vm-packages: test-packages
	@scripts/install-packages $(VM_PACKAGES)

# The system's interpreter and packages: bcc exists only there.
.state/venv: pyproject.toml
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(PIP) install --upgrade "pip>=25.1"  # the first with --group
	$(PIP) install --group build --group test --group lint
	@mkdir -p .state && touch $@

# A changed meson.build or pyproject.toml installs anew.
.state/built: .state/venv pyproject.toml $(wildcard meson.build */meson.build */*/meson.build)
	$(PIP) install --no-build-isolation --editable .
	@touch $@

$(HEADERS):
	scripts/unpack-kernel-headers $@

$(KERNELS): .state/kernels/%: | vm-packages
	scripts/unpack-kernel $* $@

# Both by one call; its packages first.
$(CAPTURES) &: | test-packages
	python3 tests/lib/corpus.py

run: build
	@scripts/run $(ARGS)

test: lint $(TIERS)
	@echo "make test: every check and tier passed."

lint: build
	ruff check .
	ruff format --check .
	mypy

test-unit: build
	$(PYTEST_PARALLEL) tests/unit

# The parser and the capture reader from Python, then the C tests with the address and
# undefined-behaviour sanitizers.
test-native: test-packages build $(CAPTURES)
	$(PYTEST) tests/native
	test -d .state/native || meson setup .state/native --buildtype=debug -Db_sanitize=address,undefined -Db_lundef=false
	meson test -C .state/native --print-errorlogs

test-peers: $(CAPTURES)

test-bpf test-netns test-peers: test-%: test-packages build $(HEADERS)
	$(TEST_ENV) $(PYTEST_PARALLEL) tests/$*

test-fuzz: test-packages build
	$(PYTEST) tests/fuzz

test-packaging: test-packages build
	@scripts/install-packages $(VAGRANT_PACKAGES)
	$(PYTEST) tests/packaging

test-vm: vm-packages build $(HEADERS) $(KERNELS)
	$(PYTEST) tests/vm

# Instructions, which are the same each time. Some are counted in a machine with Debian's kernel.
test-perf: vm-packages build $(HEADERS) $(KERNELS)
	$(TEST_ENV) $(PYTEST) tests/perf

# What test-perf expects from now on: look at the diff.
counts: vm-packages build $(HEADERS) $(KERNELS)
	$(TEST_ENV) PYTHONPATH=.:tests $(VENV)/bin/python -m tests.perf.counts

# What the tables and plots of the documents are made with: all parts, or PARTS="packet …"; then the report, of those
# that ended well. The exit code tells of the others.
bench: build build-packages $(HEADERS)
	@scripts/install-packages $(BENCH_PACKAGES)
	$(TEST_ENV) $(VENV)/bin/python -m bench $(PARTS); failed=$$?; $(VENV)/bin/python -m bench.report && exit $$failed

# The same for parts that run in emulated machines: observed, datapaths. Minutes.
bench-vm: vm-packages build $(KERNELS)
	$(VENV)/bin/python -m bench $(or $(PARTS),observed datapaths); failed=$$?; \
		$(VENV)/bin/python -m bench.report && exit $$failed

# The packages go into a folder of their own, not into the system's Python (externally managed in
# Debian 12, with a pyroute2 older than we need) nor into a virtual environment (whose scripts carry the
# path it was made at, which breaks DESTDIR). The system's packages stay visible, for bcc.
install: build
	rm -rf .state/wheel
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir .state/wheel .
	rm -rf $(DESTDIR)$(PREFIX)/lib/xdpfix
	$(PIP) install --no-compile --target $(DESTDIR)$(PREFIX)/lib/xdpfix \
		"$$(echo .state/wheel/*.whl)$(if $(EXTRAS),[$(EXTRAS)])"
	rm -rf $(DESTDIR)$(PREFIX)/lib/xdpfix/bin
	/usr/bin/python3 -m compileall -q -s "$(DESTDIR)" $(DESTDIR)$(PREFIX)/lib/xdpfix
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(UNITDIR) $(DESTDIR)$(PREFIX)/share/man/man8
	sed 's|@PREFIX@|$(PREFIX)|' scripts/xdpfix.in > $(DESTDIR)$(PREFIX)/bin/xdpfix
	chmod 755 $(DESTDIR)$(PREFIX)/bin/xdpfix
	sed 's|/usr/local/bin|$(PREFIX)/bin|' systemd/xdpfix.service > $(DESTDIR)$(UNITDIR)/xdpfix.service
	@# For this host, not for a package that is made for others.
	if [ -z "$(DESTDIR)" ] && [ "$$(cat /proc/sys/kernel/perf_event_paranoid)" -ge 3 ]; then \
		install -D -m 644 systemd/perf-event-paranoid.conf \
			$(UNITDIR)/xdpfix.service.d/perf-event-paranoid.conf; \
	fi
	gzip -9nc docs/xdpfix.8 > $(DESTDIR)$(PREFIX)/share/man/man8/xdpfix.8.gz
	install -d $(DESTDIR)$(SYSCONFDIR)/xdpfix
	test -e $(DESTDIR)$(SYSCONFDIR)/xdpfix/xdpfix.toml || \
		install -m 644 etc/xdpfix.toml $(DESTDIR)$(SYSCONFDIR)/xdpfix/xdpfix.toml

# The configuration stays.
uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/lib/xdpfix
	rm -f $(DESTDIR)$(PREFIX)/bin/xdpfix $(DESTDIR)$(UNITDIR)/xdpfix.service \
		$(DESTDIR)$(PREFIX)/share/man/man8/xdpfix.8.gz
	rm -f $(DESTDIR)$(UNITDIR)/xdpfix.service.d/perf-event-paranoid.conf

clean:
	rm -rf $(VENV) .state build dist
