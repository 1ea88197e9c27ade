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

step "the same samples, ported"
ok "livepatch-shadow-mod loads again" load livepatch-shadow-mod
ok "the ported fix loads" load umbra_fix_leak
before=$(said "umbra_fix_leak: prevented a leak")
until_said "umbra_fix_leak: prevented a leak" $((before + 2))
verdict "two leaks are prevented by the port" $?
until_said "umbra_fix_leak: checked [1-9]" 2
verdict "two objects were counted by the port" $?
leaks=$(said "umbra_fix_leak: prevented a leak")
left=$(live 31)
[ "$left" -gt 0 ]
verdict "some are still there" $?
ok "the port is disabled" disable umbra_fix_leak
[ $(($(said "umbra_fix_leak: prevented a leak") - leaks)) -ge "$((left - 1))" ]
verdict "r22_their destructors ran when it was" $?
is "r54_and none is left" "0 0" "$(live 31) $(live 32)"
ok "the port unloads" rmmod umbra_fix_leak
ok "livepatch-shadow-mod unloads again" rmmod livepatch-shadow-mod

step "a driver with bugs"
toy=/sys/module/umbra_toy/parameters
toy() { # FILE NUMBER
	echo "$2" >$toy/$1
}
ok "the toy driver loads" load umbra_toy
for nr in 1 2 3; do
	toy probe $nr
done
is "its devices have no queue" "1:0 2:0 3:0 " "$(cat $toy/queues)"
replies() { # NUMBER...: how many of these are answered in one second
	toy tick 1
	n=0
	for nr in "$@"; do
		toy reply $nr 2>/dev/null && n=$((n + 1))
	done
	echo $n
}
is "they share three replies" 3 "$(replies 1 2 3 1 2 3 1 2 3)"

ok "a fix with a global loads" load umbra_fix_limit
is "r41_each device has three replies" 9 "$(replies 1 2 3 1 2 3 1 2 3 1 2 3)"
is "in the next second too" 3 "$(replies 1 1 1 1)"
is "r41_the global has changed" 4294967295 "$(cat $toy/limit)"
is "a budget for each device" 3 "$(live 22)"
toy remove 3
is "it goes with its device" 2 "$(live 22)"
ok "it is disabled" disable umbra_fix_limit
is "r41_the global is what it was" 3 "$(cat $toy/limit)"
is "they share again" 3 "$(replies 1 2 1 2 1 2)"
ok "it unloads" rmmod umbra_fix_limit
ok "and loads again" load umbra_fix_limit
echo 7 >$toy/limit
disable umbra_fix_limit
is "r41_who set the global meanwhile meant it" 7 "$(cat $toy/limit)"
rmmod umbra_fix_limit
is "nothing is left of it" "0 0" "$(live 21) $(live 22)"

ok "a fix of set-up code loads" load umbra_fix_probe
is "r42_devices that were there are corrected" "1:64 2:64 " "$(cat $toy/queues)"
toy probe 4
is "r42_and those that come" "1:64 2:64 4:64 " "$(cat $toy/queues)"
is "a shadow for each that was there" 2 "$(live 24)"
toy remove 2
is "which goes with its device" 1 "$(live 24)"
ok "it is disabled" disable umbra_fix_probe
is "r42_and what was there is as it was" "1:0 4:64 " "$(cat $toy/queues)"
rmmod umbra_fix_probe

ok "other code for some objects loads" load umbra_fix_open
ok "a device can be opened" toy open 1
echo 1 >/sys/module/umbra_fix_open/parameters/lock
says "once it is locked it cannot" "Operation not permitted" toy open 1
says "nor again" "Operation not permitted" toy open 1
is "the replacement was handed the shadow, and counted in it" 1:2 \
	"$(cat /sys/module/umbra_fix_open/parameters/lock)"
ok "another can" toy open 4
toy remove 1
toy probe 1
ok "a new device of that number can be opened" toy open 1
echo 4 >/sys/module/umbra_fix_open/parameters/lock
says "the toy driver does not unload under a patch" "" rmmod umbra_toy
ok "it is disabled" disable umbra_fix_open
ok "and all can be opened" toy open 4
rmmod umbra_fix_open
ok "the toy driver unloads" rmmod umbra_toy
is "the samples left nothing at all" 0 "$(all)"

ok "umbra unloads" rmmod umbra
is "the leak audit" "unloaded, 0 shadows leaked" \
	"$(dmesg | sed -n 's/.*\] umbra: \(unloaded.*\)/\1/p' | tail -n 1)"
finish
