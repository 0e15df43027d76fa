#!/bin/bash
# Make a VXLAN, a Geneve and a GRE device towards the other of the two machines "left" and "right" (see Vagrantfile), as
# root, with fixed addresses. What is there already stays. The argument says which of the two this is; default: by name.
#
#   device   key   left                            right
#   vxlan1   101   203.0.113.1    2001:db8:101::1  203.0.113.2    2001:db8:101::2
#   geneve1  102   203.0.113.17   2001:db8:102::1  203.0.113.18   2001:db8:102::2
#   gre1     103   203.0.113.33   2001:db8:103::1  203.0.113.34   2001:db8:103::2
set -euo pipefail

side=${1:-$(uname -n)}
case ${side%%.*} in
	left) here=1 there=2 ;;
	right) here=2 there=1 ;;
	*)
		echo "tunnels.sh: \"$side\" is no end of the tunnels: call it with \"left\" or \"right\"." >&2
		exit 2
		;;
esac

underlay=$(ip -oneline -4 address show to "198.51.100.1$here" | awk '{ print $2; exit }')
if [ -z "$underlay" ]; then
	echo "tunnels.sh: no interface has the address 198.51.100.1$here that the tunnels start from. Find the one of the" \
		"private network in \"ip link\" and give it the address: ip address add 198.51.100.1$here/24 dev eth1" >&2
	exit 1
fi

failed=0
# NAME KEY OFFSET and what `ip link add` is told; the OFFSET is that of the tunnel's /28 in 203.0.113.0/24.
tunnel() {
	local name=$1 key=$2 offset=$3 refusal
	shift 3
	if ! ip link show dev "$name" > /dev/null 2>&1 && ! refusal=$(ip link add name "$name" "$@" 2>&1); then
		echo "tunnels.sh: the kernel refuses $name: $refusal Where its module is missing, a package of the" \
			"distribution may have it (Fedora and RHEL: kernel-modules-extra)." >&2
		failed=1
		return
	fi
	ip address replace "203.0.113.$((offset + here))/28" dev "$name"
	ip address replace "2001:db8:$key::$here/64" dev "$name" nodad
	ip link set dev "$name" up
	echo "$name on $underlay: 203.0.113.$((offset + here)), the other end is 203.0.113.$((offset + there))"
}

ends=(local "198.51.100.1$here" remote "198.51.100.1$there")
# Without a MAC address given, udev would derive it from the device's name and the machine's id: the same at both ends
# where the machines are copies of one box.
mac=02:00:00:00:00:0$here
tunnel vxlan1 101 0 address $mac type vxlan id 101 dstport 4789 dev "$underlay" "${ends[@]}" # "dev": the MTU fits
tunnel geneve1 102 16 address $mac type geneve id 102 "${ends[@]:2}"                       # takes no local address
tunnel gre1 103 32 type gre key 103 ttl 64 "${ends[@]}"
exit $failed
