#!/bin/bash
# Run tests in a machine of their own, prepared by provision.sh: those of the kernel side, those that need real links
# and those that need modules of the distribution's kernel. Arguments go to pytest in place of that choice:
#
#   sudo vagrant/run-tests.sh [tests/modules -k geneve …]
set -euo pipefail

cd "$(dirname "$0")/.."
tree=$PWD
[ $# -gt 0 ] || set -- tests/bpf tests/netns tests/modules
export PATH=$tree/.venv/bin:$PATH
# Else bcc finds the headers of the running kernel itself, in /lib/modules.
[ ! -d .state/kernel-headers ] || export BCC_KERNEL_SOURCE=${BCC_KERNEL_SOURCE-$tree/.state/kernel-headers}
exec pytest "$@"
