# SPDX-License-Identifier: GPL-2.0
# Everything that is tested in a guest: the C API from inside the kernel, each
# allocation failing in turn, unloading under load, the leak audit.
. /guest/lib.sh

# Nothing hooked, no state used, no shadow alive.
clean() {
	is "$1: no hook is left" 1 "$(grep -vc '^hits' $debug/hooks)"
	is "$1: no patch is left" "" "$(cat $sysfs/patches)"
	is "r89_$1: ftrace has nothing of ours" 0 \
		"$(grep -c 'umbra\|security_inode' /sys/kernel/debug/tracing/enabled_functions)"
	is "$1: no shadow is left" 0 "$(awk 'NR > 1 { n += $2 } END { print n + 0 }' $debug/types)"
}

. /guest/visible.inc

step "the API"
ok "umbra.ko loads" load umbra fail_nth=1
is "r35_its loading allocates nothing of its own that could fail" 1 \
	"$(cat /sys/module/umbra/parameters/fail_nth)"
echo 0 >/sys/module/umbra/parameters/fail_nth
ok "umbra_test.ko loads" load umbra_test
clean "after the API tests"
ok "umbra_test.ko unloads" rmmod umbra_test
says "disabling what is not enabled" "No such file" disable nonsense
says "disabling nothing" "No such file" disable ""

step "no memory"
ok "umbra_unit.ko loads" load umbra_unit
unit() {
	echo "$1" >/sys/module/umbra_unit/parameters/enabled
}
n=1
while [ $n -lt 200 ]; do
	echo $n >/sys/module/umbra/parameters/fail_nth
	out=$(unit 1 2>&1) && break
	bad=
	case $out in
	*"annot allocate memory"*) ;;
	*) bad="said $out" ;;
	esac
	[ "$(grep -vc '^hits' $debug/hooks)" = 1 ] || bad="$bad; a hook is left"
	[ -z "$(cat $sysfs/patches)" ] || bad="$bad; a patch is left"
	[ "$(live 901) $(live 902)" = "0 0" ] || bad="$bad; shadows are left"
	[ "$(users 901) $(users 902)" = "0 0" ] || bad="$bad; a state is in use"
	[ -z "$bad" ]
	verdict "r35_allocation $n fails: refused, nothing half-done" $? "$bad"
	n=$((n + 1))
done
echo 0 >/sys/module/umbra/parameters/fail_nth
[ $n -gt 8 ] && [ $n -lt 200 ]
verdict "with all its allocations the patch is enabled" $? "$n allocations were failed"
count "allocations failed in turn" $((n - 1))
is "and has its shadows" "8 8" "$(live 901) $(live 902)"
document "with a patch enabled"
json() { # PATTERN: how many elements have it
	grep -c "$1" $debug/json
}
is "the JSON has the patch, its states, their shadows and its hooks" "1 1 1 2" \
	"$(json '^{"name":"umbra_unit","livepatch":false,"states":\[901,902\],"hooks":2}') \
$(json '^{"id":901,"name":"unit a","users":1,"phase":"active","open":true,"generation":[0-9]*,"live":8,"quarantined":null}') \
$(json '^{"id":902,"live":8,"bytes":128,') \
$(json '"patch":"umbra_unit","state":90[12],"open":true}')"
ftrace() { # 1 or 0: whether it calls anybody
	echo "$1" >/proc/sys/kernel/ftrace_enabled
}
says "ftrace is not switched off under a hook" "esource busy" ftrace 0
is "and calls as before" 1 "$(cat /proc/sys/kernel/ftrace_enabled)"
ftrace 1
says "umbra.ko does not unload under a patch" "temporarily unavailable" rmmod umbra
says "nor the patch while it is enabled" "temporarily unavailable" rmmod umbra_unit
says "nor is it enabled twice" "File exists" unit 1
blind() { # what the log says of it
	dmesg | sed -n 's/.*\] umbra: \(the shadows of state.*\)/\1/p'
}
load umbra_seen exit_frees=901
rmmod umbra_seen
is "r96_who frees blindly in module_exit is told who has the shadows" \
	"the shadows of state 901 (unit a) are freed while umbra_unit has it; leave them to the state, or free in post_unpatch" "$(blind)"
is "and that is what it has done" "0 8" "$(live 901) $(live 902)"
load umbra_seen
ok "another frees in an interrupt" sh -c "echo 902 >/sys/module/umbra_seen/parameters/irq_frees"
is "who has them is not looked up there, for that takes a mutex" "1 0" "$(blind | wc -l) $(live 902)"
ok "the patch gets new ones" sh -c "echo 0 >/sys/module/umbra_unit/parameters/enabled &&
	echo 1 >/sys/module/umbra_unit/parameters/enabled"
ok "and with interrupts off" sh -c "echo 902 >/sys/module/umbra_seen/parameters/irqs_off_frees"
is "nor there" "1 8 0" "$(blind | wc -l) $(live 901) $(live 902)"
rmmod umbra_seen
ok "umbra_unit is disabled" unit 0
load umbra_seen exit_frees=902
rmmod umbra_seen
is "r96_when nobody has them any more nobody is warned" 1 "$(blind | wc -l)"
says "nor disabled twice" "No such file" unit 0
ok "without a hook ftrace may be switched off" ftrace 0
says "where it is off no patch with hooks is enabled" "esource busy" unit 1
is "and nothing of it is left" "1 0 0 " \
	"$(grep -vc '^hits' $debug/hooks) $(live 901) $(live 902) $(cat $sysfs/patches)"
ftrace 1
ok "it is when ftrace is back" unit 1
ok "and disabled" unit 0
ok "umbra_unit unloads" rmmod umbra_unit
clean "after no memory"

step "a pre_patch that fails"
says "r17_insmod reports what pre_patch returned" "Not a directory" \
	load umbra_demo_p1 path=/proc/version/x
clean "after a failed insmod"

step "a shadow that outlived its object"
tree /demo 4 100
# A file and a directory that the demo does not want.
file=$(ls -i /demo/d0 | awk '$1 % 4 == 1 { print "/demo/d0/" $2; exit }')
dir=$(ls -id /demo/d* | awk '$1 % 2 == 1 { print $2; exit }')
ok "the fourth demo patch loads" load umbra_demo_p4
before="$(live 1) $(live 3)"
ok "a file has a dead inode's mark" load umbra_stale path=$file id=1
rmmod umbra_stale
ok "a directory has a dead inode's mark" load umbra_stale path=$dir id=3
rmmod umbra_stale
is "both marks are there" "$(echo $before | awk '{ print $1 + 1, $2 + 1 }')" "$(live 1) $(live 3)"
ok "d3_the file is not taken for the one that is gone" cat $file
ok "d3_nor is the directory" touch $dir/new
is "d3_and both marks are gone" "$before" "$(live 1) $(live 3)"
rm $dir/new
ok "the patch is disabled" disable umbra_demo_p4
ok "and unloads" rmmod umbra_demo_p4
clean "after the outlived shadows"

step "unload under load"
walk() {
	while [ -e /tmp/run ]; do
		find /demo -type f | xargs stat >/dev/null 2>&1
		find /demo -type f | xargs cat >/dev/null 2>&1
		touch /demo/d0/x /demo/d1/x 2>/dev/null
		rm -f /demo/d0/x /demo/d1/x 2>/dev/null
	done
}
touch /tmp/run
walk &
walk &
walk &
rounds=100
i=0
bad=
while [ $i -lt $rounds ] && [ -z "$bad" ]; do
	p=umbra_demo_p$((i % 4 + 1))
	load $p || bad="load $p"
	disable $p || bad="disable $p"
	rmmod $p || bad="rmmod $p"
	# The trampolines' own code goes too, now and then.
	if [ $((i % 10)) -eq 9 ]; then
		rmmod umbra || bad="rmmod umbra"
		load umbra counters=1 || bad="load umbra"
	fi
	i=$((i + 1))
	[ $((i % 10)) -eq 0 ] && progress "unloading under load" $i $rounds
done
[ -z "$bad" ]
verdict "rmmod under a running load, $rounds times" $? "round $i: $bad"
clean "after unloading under load"

i=0
bad=
last=
while [ $i -lt 20 ] && [ -z "$bad" ]; do
	p=umbra_demo_p$((i % 4 + 1))
	load $p || bad="load $p"
	[ -z "$last" ] || rmmod $last || bad="rmmod $last"
	last=$p
	i=$((i + 1))
done
disable $last || bad="disable $last"
rmmod $last || bad="rmmod $last"
[ -z "$bad" ]
verdict "replaced under a running load, 20 times" $? "round $i: $bad"
rm /tmp/run
wait
clean "after replacing under load"

step "leak audit"
ok "a module that leaks" load umbra_test leak=3
rmmod umbra_test
ok "umbra unloads" rmmod umbra
is "r54_the audit names a leak" "id 599: 3 shadows were never freed, one of them of object" \
	"$(dmesg | sed -n 's/.*leak audit: \(.* of object\) .*/\1/p' | tail -n 1)"
is "and counts it" "unloaded, 3 shadows leaked" \
	"$(dmesg | sed -n 's/.*\] umbra: \(unloaded.*\)/\1/p' | tail -n 1)"
finish
