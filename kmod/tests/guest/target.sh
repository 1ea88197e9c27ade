# SPDX-License-Identifier: GPL-2.0
# A module that is hooked, and whose objects have shadows, unloads.
. /guest/lib.sh

tgt=/sys/module/umbra_tgt/parameters
patch=/sys/module/umbra_tgt_patch/parameters
# Where all of its objects are, one after the other.
where=0x1000

enabled() {
	echo "$1" >$patch/enabled
}

callbacks() {
	dmesg -c | grep -c '\] umbra: .*: state [0-9]* (.*): '
}

hooked() { # by which of our slots
	awk '$1 ~ /^[0-9]+$/ { printf "%s%s", sep, $2; sep = " " }' $debug/hooks
}

step "a target goes between the look for a function's name and the one for its trace"
# First of all: a target with a used slot would wait for the looker.
ok "umbra.ko loads" load umbra
ok "the patch loads" load umbra_tgt_patch
i=0
while [ $i -lt 5 ]; do
	load umbra_tgt object=$where
	echo 1000 >$patch/look &
	usleep 200000
	rmmod umbra_tgt
	wait
	i=$((i + 1))
done
is "d3 it is absent, not untraceable" "absent 5 untraceable 0 other 0" "$(cat $patch/looked)"

step "a target unloads"
ok "the target loads" load umbra_tgt object=$where
ok "and is enabled" enabled 1
is "its target's function runs as it was" 1 "$(cat $tgt/call)"
says "its notrace function is refused" "not supported" sh -c "echo 1 >$patch/untraceable"
echo "$where" >$patch/attach
is "with a shadow, the replacement" 2 "$(cat $tgt/call)"
callbacks >/dev/null
ok "d3 the target unloads, hooked as it is" rmmod umbra_tgt
is "d3_r40 no callback ran" 0 "$(callbacks)"
is "d3 its hook is gone, the other one is not" security_inode_create "$(hooked)"
is "d3 ftrace has nothing of it" 0 "$(grep -c umbra_tgt /sys/kernel/debug/tracing/enabled_functions)"
is "d3 its shadow is gone and destructed; others, and the stock one, are not" \
	"target 0 other 1 stock 1 dtors 1" "$(cat $patch/found)"

step "another object at the same address"
ok "the target loads again" load umbra_tgt object=$where
is "d3 it inherits nothing from us, and from the stock API a shadow" \
	"target 0 other 1 stock 1 dtors 1" "$(cat $patch/found)"
is "and is not hooked" 1 "$(cat $tgt/call)"
ok "the patch is disabled" enabled 0
ok "and enabled anew" enabled 1
is "d3 now it is hooked, and has no shadow" 1 "$(cat $tgt/call)"
echo "$where" >$patch/attach
is "until it gets one" 2 "$(cat $tgt/call)"
ok "the patch is disabled while the target is there" enabled 0
is "the function runs as it was" 1 "$(cat $tgt/call)"
(
	echo 12000 >$patch/hold
	echo over >/tmp/held
) &
usleep 500000
ok "hooked no more, the target unloads" rmmod umbra_tgt
is "without waiting for a callback that has nothing to do with it" "" "$(cat /tmp/held 2>/dev/null)"
wait

step "unloading while others enable"
# Each may find the target there, coming, going or gone.
touch /tmp/run
(
	n=0
	while [ -e /tmp/run ]; do
		n=$(((n + 1) % 5))
		load umbra_tgt object=$where 2>/dev/null
		usleep $((n * 40000))
		rmmod umbra_tgt 2>/dev/null
	done
) &
i=0
yes=0
bad=
while [ $i -lt 60 ]; do
	out=$(enabled 1 2>&1) && {
		yes=$((yes + 1))
		echo "$where" >$patch/attach
		enabled 0 || bad="$bad; disable"
	}
	case $out in
	'' | *"No such file"*) ;;
	*) bad="$bad; $out" ;;
	esac
	i=$((i + 1))
	[ $((i % 10)) -eq 0 ] && progress "enabling" $i 60
done
rm /tmp/run
wait
[ -z "$bad" ] && [ "$yes" -gt 0 ]
verdict "enabled or refused, $yes times of 60 enabled" $? "$bad"
is "no hook is left" "" "$(hooked)"
is "no shadow is left" 0 "$(awk 'NR > 1 { n += $2 } END { print n + 0 }' $debug/types)"
ok "the patch unloads" rmmod umbra_tgt_patch
ok "umbra unloads" rmmod umbra
is "the leak audit" "unloaded, 0 shadows leaked" \
	"$(dmesg | sed -n 's/.*\] umbra: \(unloaded.*\)/\1/p' | tail -n 1)"
finish
