#!/bin/bash
# Prepare a machine for run-tests.sh, as root: what the tests need of the distribution, the project built, the modules
# of its kernel loaded. What is there already stays, so that a second run takes seconds and needs no network. What the
# distribution lacks is said by name: it ends the run if the build needs it, else it fails the tests that need it.
set -euo pipefail

cd "$(dirname "$0")/.."

. /etc/os-release
release=$(uname -r)
stop() {
	echo "provision.sh: $*" >&2
	exit 1
}

# A module of another name than its file, or built in, is none that is missing: modprobe knows.
MODULES=(8021q dummy esp4 geneve ip6_gre ip_gre openvswitch sch_ingress cls_bpf sctp tun veth vxlan xfrm_user)

# Debian's names are in the Makefile, and those of Ubuntu are the same but for what follows the running kernel.
with_apt() {
	scripts/install-packages make # the rest is done by it, and a fresh machine may lack it
	if [ "$ID" = ubuntu ]; then
		scripts/install-packages "linux-headers-$release" "linux-modules-extra-$release"
		make --silent machine-packages BPFTOOL="linux-tools-$release" || stop "$PRETTY_NAME lacks a package named above."
	else
		make --silent machine-packages .state/kernel-headers || stop "$PRETTY_NAME lacks a package named above."
	fi
	make --silent build
}

# The same by the names of Fedora and of RHEL 9's relatives.
with_dnf() {
	local package python=python3 build tests lacking=()

	if [ "$ID" != fedora ]; then
		# Headers of libraries are in CRB, python3-bcc's and OVS's tools in the other two.
		dnf --quiet --assumeyes install dnf-plugins-core
		dnf config-manager --set-enabled crb ||
			stop "$PRETTY_NAME has no repository \"crb\". On RHEL itself, run: subscription-manager repos" \
				"--enable codeready-builder-for-rhel-${VERSION_ID%%.*}-$(uname -m)-rpms"
		dnf --quiet --assumeyes install epel-release || stop "$PRETTY_NAME does not know EPEL: install epel-release."
		dnf --quiet --assumeyes install centos-release-nfv-openvswitch || lacking+=(centos-release-nfv-openvswitch)
	fi
	# RHEL 9's own is 3.9.
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || python=python3.11

	build=(clang llvm gcc make pkgconf-pkg-config "$python" "$python-devel" "$python-pip" libbpf-devel
		elfutils-libelf-devel zlib-devel xxhash-devel libpcap-devel iproute iproute-tc)
	tests=(python3-bcc "kernel-devel-$release" "kernel-modules-extra-$release" bpftool ethtool kmod procps-ng
		util-linux "$(openvswitch)")
	for package in "${build[@]}"; do
		known "$package" || stop "$PRETTY_NAME has no package $package, which the build needs. Look for it in a" \
			"repository that is not enabled: dnf --enablerepo='*' provides $package"
	done
	dnf --quiet --assumeyes install "${build[@]}"
	for package in "${tests[@]}"; do
		# One by one: what is not there must not hinder the others.
		known "$package" && dnf --quiet --assumeyes install "$package" || lacking+=("$package")
	done
	if [ ${#lacking[@]} -gt 0 ]; then
		echo "provision.sh: $PRETTY_NAME has no package ${lacking[*]}: tests that need it will fail. Packages of a" \
			"kernel's release vanish when a newer kernel comes: \"dnf upgrade\" and restart the machine." >&2
	fi
	# Not "build", which looks for Debian's packages first.
	make --silent .state/built PYTHON="$(command -v "$python")"
}

# Whether a package is installed, or can be.
known() {
	rpm --query --quiet --whatprovides "$1" || [ -n "$(dnf --quiet repoquery --whatprovides "$1" 2> /dev/null)" ]
}

# The newest Open vSwitch: a package of its own name in Fedora, with its version in its name where CentOS's NFV group
# makes it.
openvswitch() {
	local versioned
	versioned=$(dnf --quiet repoquery --queryformat '%{name}\n' 'openvswitch3.*' 2> /dev/null |
		sed -n '/^openvswitch[0-9.]*$/p' | sort --version-sort | tail --lines 1)
	echo "${versioned:-openvswitch}"
}

if command -v apt-get > /dev/null; then
	with_apt
elif command -v dnf > /dev/null; then
	with_dnf
else
	stop "$PRETTY_NAME has neither apt-get nor dnf: install what the Makefile names as BUILD_PACKAGES," \
		"BCC_PACKAGES and MACHINE_PACKAGES by its own names, then run \"make .state/built\"."
fi

# The virtual environment sees the modules of the system, but only those of its own Python.
.venv/bin/python -c 'import bcc' 2> /dev/null ||
	echo "provision.sh: $(.venv/bin/python --version) of $PRETTY_NAME has no module bcc: tests of this loader will fail." >&2

# A namespace has the links that were made in it, and not gre0, ip6tnl0 and others of loaded modules (sysctl/net.rst).
sysctl --quiet net.core.fb_tunnels_only_for_init_net=1

missing=()
for module in "${MODULES[@]}"; do
	modprobe "$module" 2> /dev/null || missing+=("$module")
done
if [ ${#missing[@]} -gt 0 ]; then
	echo "provision.sh: kernel $release has no module ${missing[*]}: tests that need it will fail." >&2
fi
