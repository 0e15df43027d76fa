#!/bin/bash
# Prepare a machine for run-tests.sh, as root: what the tests need of the distribution, the project built, the modules
# of its kernel loaded. What is there already stays, so that a second run takes seconds and needs no network.
set -euo pipefail

cd "$(dirname "$0")/.."

# A module of another name than its file, or built in, is none that is missing: modprobe knows.
MODULES=(8021q dummy esp4 geneve ip6_gre ip_gre openvswitch sch_ingress cls_bpf tun veth vxlan xfrm_user)

if command -v apt-get > /dev/null; then
	make --silent test-packages build .state/kernel-headers
elif command -v dnf > /dev/null; then
	# The same packages by the names of Fedora and RHEL; some are in repositories that RHEL leaves off.
	if ! grep --quiet '^ID="\?fedora' /etc/os-release; then
		dnf --quiet --assumeyes install epel-release dnf-plugins-core centos-release-nfv-openvswitch || true
		dnf config-manager --set-enabled crb
	fi
	python=python3
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || python=python3.11
	dnf --quiet --assumeyes install \
		clang llvm gcc make pkgconf-pkg-config patchelf git $python $python-devel $python-pip \
		libbpf-devel elfutils-libelf-devel zlib-devel xxhash-devel libpcap-devel iproute iproute-tc
	dnf --quiet --assumeyes --skip-broken install \
		python3-bcc kernel-devel bpftool ethtool tcpdump openvswitch util-linux procps-ng kernel-modules-extra
	make --silent build build-packages= PYTHON="$(command -v $python)"
else
	echo "Neither apt-get nor dnf: install what the README names under \"Build\", then run \"make build\"." >&2
	exit 1
fi

# A namespace has the links that were made in it, and not gre0, ip6tnl0 and others of loaded modules (sysctl/net.rst).
sysctl --quiet net.core.fb_tunnels_only_for_init_net=1

missing=()
for module in "${MODULES[@]}"; do
	modprobe "$module" 2> /dev/null || missing+=("$module")
done
if [ ${#missing[@]} -gt 0 ]; then
	echo "Kernel $(uname -r) has no module ${missing[*]}: tests that need it will fail." >&2
fi
