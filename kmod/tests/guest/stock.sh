# SPDX-License-Identifier: GPL-2.0
# The drop-in: the kernel's own users of klp_shadow_*(), compiled as they are with
# umbra_klp.h, and what a user may count on, of the stock functions and of ours.
. /guest/lib.sh

expect() {
	say "{\"kind\":\"expect\",\"text\":\"$1\"}"
}

# Shadows of all ids.
all() {
	awk 'NR > 1 { n += $2 } END { print n + 0 }' $debug/types
}

ok "umbra.ko loads" load umbra

step "the kernel's own test of shadow variables"
grep -q 'klp_shadow' /guest/test-shadow-vars.sh
verdict "the kernel's own script is there" $?
(sh /guest/test-shadow-vars.sh)
is "it left nothing" 0 "$(all)"
grep -q '^ *4660 ' $debug/types
verdict "its variables were ours" $? "no type 0x1234"

step "what a user may count on"
for whose in stock ours; do
	expect "Duplicate shadow variable"
	ok "umbra_klp_$whose loads" load umbra_klp_$whose
	ok "umbra_klp_$whose unloads" rmmod umbra_klp_$whose
done
is "ours left nothing" 0 "$(all)"

# How often a line of the log has this: said TEXT
said() {
	dmesg | grep -c "$1"
}

# until_said TEXT TIMES
until_said() {
	i=0
	while [ "$(said "$1")" -lt "$2" ] && [ $i -lt 60 ]; do
		sleep 1
		i=$((i + 1))
	done
	[ "$(said "$1")" -ge "$2" ]
}

patch() { # NAME 0|1
	[ "$2" = 1 ] || echo 0 >/sys/kernel/livepatch/$1/enabled
	i=0
	while [ "$(cat /sys/kernel/livepatch/$1/transition 2>/dev/null)" = 1 ] && [ $i -lt 60 ]; do
		sleep 1
		i=$((i + 1))
	done
	if [ "$2" = 1 ]; then
		[ "$(cat /sys/kernel/livepatch/$1/transition)" = 0 ]
	else
		[ ! -e /sys/kernel/livepatch/$1 ]
	fi
}

step "the kernel's own samples of shadow variables"
ok "livepatch-shadow-mod loads" load livepatch-shadow-mod
ok "livepatch-shadow-fix1 loads" load livepatch-shadow-fix1
ok "its transition ends" patch livepatch_shadow_fix1 1
ok "livepatch-shadow-fix2 loads" load livepatch-shadow-fix2
ok "its transition ends" patch livepatch_shadow_fix2 1
until_said "prevented leak" 2
verdict "two leaks are prevented" $?
until_said "check counter = [1-9]" 2
verdict "two objects were counted" $?
# The second comes with a check every three seconds.
i=0
until [ "$(live 1)" -gt 0 ] && [ "$(live 2)" -gt 0 ] || [ $i -ge 30 ]; do
	sleep 1
	i=$((i + 1))
done
[ "$(live 1)" -gt 0 ] && [ "$(live 2)" -gt 0 ]
verdict "both variables are in our table" $? "live: $(live 1) $(live 2)"
for fix in fix2 fix1; do
	ok "$fix is disabled" patch livepatch_shadow_$fix 0
	ok "$fix unloads" rmmod livepatch-shadow-$fix
done
ok "livepatch-shadow-mod unloads" rmmod livepatch-shadow-mod
is "the samples left nothing" 0 "$(all)"

ok "umbra unloads" rmmod umbra
is "the leak audit" "unloaded, 0 shadows leaked" \
	"$(dmesg | sed -n 's/.*\] umbra: \(unloaded.*\)/\1/p' | tail -n 1)"
finish
