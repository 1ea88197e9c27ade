# SPDX-License-Identifier: GPL-2.0
# What the kernel's own test-shadow-vars.sh wants of its functions.sh, for a
# guest with nothing but a busybox. Sourced by that script.
. /guest/lib.sh

setup_config() {
	dmesg -c >/dev/null
}

start_test() {
	title=$1
}

load_mod() {
	load "$1" || verdict "$title: $1 loads" 1
}

unload_mod() {
	rmmod "$1" || verdict "$title: $1 unloads" 1
}

# The script's list has the commands too ("% modprobe ..."), by their names in
# its own environment.
check_result() {
	echo "$1" | grep -v '^%' >/tmp/wanted
	dmesg | sed -n 's/^\[[ 0-9.]*\] \(test_klp.*\)$/\1/p' |
		grep -v 'taint' >/tmp/got
	[ -s /tmp/wanted ] && cmp -s /tmp/wanted /tmp/got
	verdict "r47_$title, as the kernel's own script wants it" $? "$(diff /tmp/wanted /tmp/got)"
}
