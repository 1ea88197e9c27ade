# SPDX-License-Identifier: GPL-2.0
# States of real livepatches: umbra_livepatch.h, with the stock core beside it.
. /guest/lib.sh

klp=/sys/kernel/livepatch

# What our callbacks did since the last call: a1.pre_patch is state 1's of
# umbra_lp_a, !pre_patch one that failed, and the reason is told where it is
# neither enable nor disable nor replace.
trace() {
	dmesg -c | sed -n 's/^.*\] umbra: umbra_lp_\([a-z]*\): state \([0-9]*\) (.*): \([a-z_]*\) on \([a-z]*\) returned \(-*[0-9]*\)$/\1\2.\3 \4 \5/p' |
		awk '{ split($1, w, "."); bad = $3 == 0 ? "" : "!"
			why = $2 ~ /^(enable|disable|replace)$/ ? "" : "(" $2 ")"
			printf "%s%s.%s%s%s", sep, w[1], bad, w[2], why; sep = " " }'
}

# What the log said of umbra since the last call.
said() {
	dmesg -c | sed -n 's/^.*\] umbra: //p'
}

# lp NAME OPTIONS: load a livepatch, begin to enable it
lp() {
	name=$1
	shift
	load "umbra_lp_$name" "$@"
}

# The transition of a patch is over; after a minute it is not.
over() {
	tries=0
	while [ "$(cat $klp/umbra_lp_$1/transition 2>/dev/null || echo 0)" = 1 ]; do
		tries=$((tries + 1))
		[ $tries -gt 300 ] && return 1
		usleep 200000
	done
}

# off NAME: disable it, by the stock file
off() {
	echo 0 >"$klp/umbra_lp_$1/enabled" && over "$1"
}

# The core gives a module back a moment after its last transition.
gone() {
	for name in "$@"; do
		tries=0
		until rmmod "umbra_lp_$name" 2>/tmp/rmmod; do
			tries=$((tries + 1))
			[ $tries -gt 300 ] && {
				cat /tmp/rmmod
				return 1
			}
			usleep 100000
		done
	done
}

runs() { # which code /proc/cmdline is
	word=$(cut -d' ' -f1 /proc/cmdline)
	case $word in
	umbra_lp_*) echo "${word#umbra_lp_}" ;;
	*) echo stock ;;
	esac
}

# A task in the function that all patches change, whichever of them has it now.
busy() {
	for param in /sys/module/umbra_lp_[a-d]/parameters/busy; do
		[ -e "$param" ] && echo "$1" >"$param"
	done
	echo "$1" >/sys/module/umbra_lp_target/parameters/busy
	tries=0
	while [ "$1" = 1 ]; do
		grep -q Y /sys/module/umbra_lp_*/parameters/inside && return
		tries=$((tries + 1))
		[ $tries -gt 6000 ] && {
			verdict "a task is in the function" 1 "not within a minute"
			return 1
		}
		usleep 10000
	done
}

nothing_left() {
	is "$1: no state is in use" "0" "$(awk 'NR > 1 { n += $(NF - 4) } END { print n + 0 }' $debug/states)"
	is "$1: no shadow is left" 0 "$(awk 'NR > 1 { n += $2 } END { print n + 0 }' $debug/types)"
	is "$1: no patch is left" "" "$(cat $sysfs/patches)$(ls $klp)"
}

step "a livepatch with a state"
ok "umbra.ko loads" load umbra
trace >/dev/null
ok "A{1} is enabled" lp a states=1
ok "its transition ends" over a
is "its callbacks ran once, in order" "a1.pre_patch a1.post_patch" "$(trace)"
is "its code runs" a "$(runs)"
is "its shadows are there" 4 "$(live 1)"
is "umbra knows it" umbra_lp_a "$(cat $sysfs/patches)"
says "it does not unload while it is enabled" "" rmmod umbra_lp_a
says "nor does umbra.ko" "" rmmod umbra
says "a write of 1 is the core's to answer" "Invalid" sh -c "echo 1 >$klp/umbra_lp_a/enabled"
says "and so is nonsense" "Invalid" sh -c "echo x >$klp/umbra_lp_a/enabled"
says "umbra's own file leaves it to the core's" "Invalid" disable umbra_lp_a
ok "it is disabled" off a
is "r51_d9 disabling cleans up" "a1.pre_unpatch a1.post_unpatch" "$(trace)"
is "its shadows are gone" 0 "$(live 1)"
is "the stock code runs" stock "$(runs)"
ok "it unloads" gone a
nothing_left "one patch"

step "what is refused"
says "no vmlinux object" "Invalid" lp a states=1 anchor=0
says "a vmlinux object with callbacks" "Invalid" lp a states=1 callbacks=1
says "hooks in a livepatch" "Invalid" lp a states=1 hooks=1
says "t7_d7_r3 the same id twice" "Invalid" lp a states=1,1
says "r2 an id of zero" "Invalid" lp a states=0
is "t7 no callback ran" "" "$(trace)"
ok "one that waits to be enabled" lp a states=1 wait=1
says "r62_a destructor may not enable it" "eadlock" \
	sh -c 'echo 1 >/sys/module/umbra_lp_a/parameters/enable_in_dtor'
is "r62_and the log says what it would wait for" \
	"refused: umbra_enable_livepatch() waits for reclamation, which waits for the destructor that called it; call it elsewhere" "$(said)"
is "no callback ran" "stock" "$(runs)"
ok "it unloads" gone a
nothing_left "what is refused"

step "who is in the core's file waits for nobody who waits for him"
hook=/sys/module/umbra_lp_hook/parameters

# in_time SECONDS COMMAND...: it ends; what hangs is left hanging
in_time() {
	tries=$(($1 * 10))
	shift
	rm -f /tmp/ended
	(
		"$@" >/dev/null 2>&1
		: >/tmp/ended
	) &
	until [ -e /tmp/ended ]; do
		tries=$((tries - 1))
		[ $tries -lt 0 ] && return 1
		usleep 100000
	done
}

# Two tasks: one takes a hook away and waits for replacements with the control
# lock, the other comes by the file and wants that lock.
two_disable() {
	disable umbra_lp_hook &
	usleep 30000
	off a
	# If it came late, the other's transition was under way, and it was told so.
	wait $! || disable umbra_lp_hook
}

ok "a module with a hook" load umbra_lp_hook
i=0
bad=
hung=
while [ $i -lt 4 ] && [ -z "$bad" ]; do
	lp a states=1 && over a && echo 1 >$hook/hook || bad="$i: set up"
	in_time 90 two_disable || { bad="$bad; $i: both wait"; hung=1; }
	[ -z "$bad" ] && gone a || bad="$bad; $i: unload"
	i=$((i + 1))
done
[ -z "$bad" ]
verdict "a hook goes while the file of a livepatch is written" $? "$bad"
# Nothing works any more behind a deadlock.
[ -z "$hung" ] || finish
# One task: its write may end the transition itself, and with it the last user
# of a state, whose shadows wait for whoever was handed one.
echo 1 >$hook/policy
echo 2 >$hook/pass
ok "a hook that hands shadows over" sh -c "echo 1 >$hook/hook"
i=0
while [ $i -lt 6 ] && [ -z "$bad" ]; do
	lp a states=1 && over a || bad="$i: set up"
	in_time 90 off a || { bad="$bad; $i: it waits for itself"; hung=1; }
	[ -z "$bad" ] && gone a || bad="$bad; $i: unload"
	i=$((i + 1))
done
[ -z "$bad" ]
verdict "a livepatch with shadows is disabled beside a hook that hands shadows over" $? "$bad"
[ -z "$hung" ] || finish
ok "the hook goes" disable umbra_lp_hook
ok "its module unloads" rmmod umbra_lp_hook
nothing_left "both"
trace >/dev/null

step "T1: the third of four pre_patch fails"
ok "it loads" lp a states=1,2,3,4 fail=3 wait=1
says "r17_t1 the errno is the callback's" "tructure needs cleaning" \
	sh -c 'echo 1 >/sys/module/umbra_lp_a/parameters/enable'
is "t1_r30 undone in the opposite order, the failing one is not" \
	"a1.pre_patch a2.pre_patch a3.!pre_patch a2.post_unpatch(failed) a1.post_unpatch(failed)" "$(trace)"
is "t1_d4_r31 the failing one's own shadows are gone too" "0 0 0 0" "$(live 1) $(live 2) $(live 3) $(live 4)"
is "the stock code runs" stock "$(runs)"
ok "it unloads" gone a
nothing_left T1

step "T2: two patches share a state, a third replaces them without it"
ok "A{1} is enabled" lp a states=1
over a
ok "B{1} beside it" lp b states=1
over b
is "r11_r25 the second user runs nothing" "a1.pre_patch a1.post_patch" "$(trace)"
ok "C{} replaces both" lp c replace=1
over c
is "t2_d1 the last one of them cleans up, once" "b1.pre_unpatch b1.post_unpatch" "$(trace)"
is "t2_d1 no shadow leaks" 0 "$(live 1)"
is "C's code runs" c "$(runs)"
ok "r91 the replaced patches unload" gone a b
ok "C is disabled" off c
ok "and unloads" gone c
nothing_left T2

step "D1 by the stock core alone"
ok "X is enabled" load umbra_lp_x
over x
ok "Y beside it" load umbra_lp_y
over y
is "X and Y share the shadows" "4 4" \
	"$(cat /sys/module/umbra_lp_x/parameters/count) $(cat /sys/module/umbra_lp_y/parameters/count)"
ok "Z replaces both" load umbra_lp_z replace=1 shadows=0
over z
ok "X and Y unload" gone x y
is "d1_r56_r94 stock: the shadows of both leak" 4 "$(cat /sys/module/umbra_lp_z/parameters/count)"
echo 0 >/sys/module/umbra_lp_z/parameters/count
ok "Z is disabled" off z
ok "and unloads" gone z
trace >/dev/null

step "T3: a replace that stalls is reversed"
ok "the target loads" load umbra_lp_target
ok "A{1} is enabled" lp a states=1
over a
trace >/dev/null
busy 1
ok "B{2} begins to replace it" lp b states=2 replace=1
is "it stalls" 1 "$(cat $klp/umbra_lp_b/transition)"
is "t3 first halves ran" "b2.pre_patch a1.pre_unpatch" "$(trace)"
says "a native patch has to wait" "esource busy" lp c states=3 native=1
says "and another livepatch" "esource busy" lp c states=3
said >/dev/null
ok "it is reversed, by the stock file" sh -c "echo 0 >$klp/umbra_lp_b/enabled"
is "t3 the reverse is recognised at once" "umbra_lp_b: reversed on request: it is taken back" "$(said)"
ok "and reversed again" sh -c "echo 1 >$klp/umbra_lp_b/enabled"
is "t3 and that too" "umbra_lp_b: reversed on request: it goes on" "$(said)"
ok "and back" sh -c "echo 0 >$klp/umbra_lp_b/enabled"
busy 0
ok "it ends" over b
is "t3_r27_r28_r29 what was begun is undone, the last first" \
	"a1.post_patch(reverse) b2.post_unpatch(reverse)" "$(trace)"
is "t3 A has its shadows, B none" "4 0" "$(live 1) $(live 2)"
is "A's code runs" a "$(runs)"
ok "B unloads" gone b
busy 1
ok "a downgrade that stalls" lp b states=2 replace=1
busy 0
ok "r72 and then gets there" over b
is "r60_r95 in the frozen order" \
	"b2.pre_patch a1.pre_unpatch a1.post_unpatch b2.post_patch" "$(trace)"
ok "A unloads" gone a
ok "B is disabled" off b
ok "and unloads" gone b
nothing_left T3

step "T4: a disable that stalls is reversed"
ok "A{1} is enabled" lp a states=1
over a
busy 1
trace >/dev/null
ok "its disabling begins" sh -c "echo 0 >$klp/umbra_lp_a/enabled"
is "it stalls" 1 "$(cat $klp/umbra_lp_a/transition)"
is "t4 the gate is closed" closed "$(awk '$1 == 1 { print $(NF - 2) }' $debug/states)"
ok "it is reversed" sh -c "echo 1 >$klp/umbra_lp_a/enabled"
busy 0
ok "it ends" over a
is "t4" "a1.pre_unpatch a1.post_patch(reverse)" "$(trace)"
is "t4 the shadows stayed, the gate is open" "4 open" "$(live 1) $(awk '$1 == 1 { print $(NF - 2) }' $debug/states)"
ok "A is disabled" off a
ok "and unloads" gone a
nothing_left T4

step "T5: a patch that blocks its disabling is stuck while it is enabled"
busy 1
trace >/dev/null
ok "A{1!} begins" lp a states=1 block=1
is "it stalls" 1 "$(cat $klp/umbra_lp_a/transition)"
ok "t5_d5 it may be reversed" sh -c "echo 0 >$klp/umbra_lp_a/enabled"
busy 0
ok "it ends" over a
is "t5" "a1.pre_patch a1.post_unpatch(reverse)" "$(trace)"
ok "A unloads" gone a
nothing_left T5

step "T6: two patches share a state that blocks"
ok "A{1!} is enabled" lp a states=1 block=1
over a
ok "B{1!} beside it" lp b states=1 block=1
over b
trace >/dev/null
ok "t6_d6 B is disabled, for A has the state" off b
is "t6 and nothing runs" "" "$(trace)"
says "r69 the last one is not, by the stock file" "not permitted" sh -c "echo 0 >$klp/umbra_lp_a/enabled"
is "r69 and the log names the state, and the way out" 1 "$(said | grep -c 'state 1 (s1)')"
is "it is as it was" "1 0 a 4" \
	"$(cat $klp/umbra_lp_a/enabled) $(cat $klp/umbra_lp_a/transition) $(runs) $(live 1)"
says "r70 nor replaced by one without the state" "not permitted" lp c replace=1
is "r70 the new one is not there" "umbra_lp_a" "$(cat $sysfs/patches)"
ok "B unloads" gone b
said >/dev/null
ok "r71 one with the state may replace it" lp b states=1 replace=1
over b
is "r5 in what the two differ is told" \
	"umbra_lp_b: state 1 (s1) is not described as by umbra_lp_a, which has it too: block_disable differs" \
	"$(dmesg | sed -n 's/^.*\] umbra: \(.*differs\)$/\1/p')"
is "r10_r71 nothing runs: the duty is handed on" "" "$(trace)"
ok "r71 and be disabled" off b
is "r10_r71 by its own callbacks" "b1.pre_unpatch b1.post_unpatch" "$(trace)"
ok "both unload" gone a b
nothing_left T6

step "T8: P1{1} P2{1} P3{1,2} P4{1,3} P1{1}"
ok "P1" lp a states=1 replace=1
over a
is "t8 P1" "a1.pre_patch a1.post_patch" "$(trace)"
ok "P2" lp b states=1 replace=1
over b
ok "P1 unloads" gone a
is "t8_r53_r59 P1 to P2" "" "$(trace)"
ok "P3" lp c states=1,2 replace=1
over c
is "t8 P2 to P3" "c2.pre_patch c2.post_patch" "$(trace)"
ok "P2 unloads" gone b
ok "P4" lp d states=1,3 replace=1
over d
is "t8_r66_r95 P3 to P4" "d3.pre_patch c2.pre_unpatch c2.post_unpatch d3.post_patch" "$(trace)"
ok "P3 unloads" gone c
ok "P1 again" lp a states=1 replace=1
over a
is "t8_r63 P4 to P1" "d3.pre_unpatch d3.post_unpatch" "$(trace)"
is "t8 state 1 kept its shadows" "4 0 0" "$(live 1) $(live 2) $(live 3)"
ok "P4 unloads" gone d
ok "P1 is disabled" off a
ok "and unloads" gone a
nothing_left T8

step "r33 a later object cannot be patched"
echo 1 >/sys/module/umbra_lp_target/parameters/taken
ok "it loads" lp a states=1 wait=1
trace >/dev/null
says "r33 the core's errno" "esource busy" sh -c 'echo 1 >/sys/module/umbra_lp_a/parameters/enable'
is "r33 only post_unpatch" "a1.pre_patch a1.post_unpatch(failed)" "$(trace)"
ok "it unloads" gone a
echo 0 >/sys/module/umbra_lp_target/parameters/taken
nothing_left r33

step "r40 a target comes and goes"
ok "A{1} is enabled" lp a states=1
over a
trace >/dev/null
ok "the target unloads" rmmod umbra_lp_target
ok "and loads" load umbra_lp_target
is "r40 no callback ran" "" "$(trace)"
ok "A is disabled" off a
ok "and unloads" gone a

step "other kinds of patch"
ok "a native patch N{1}" lp a states=1 native=1
trace >/dev/null
ok "B{1} beside it" lp b states=1
over b
is "they share the state" "" "$(trace)"
says "a native patch does not replace livepatches" "esource busy" lp c states=1 native=1 replace=1
says "nor does a livepatch that is not ours" "esource busy" load umbra_lp_z replace=1 shadows=0
ok "it may be beside ours" load umbra_lp_x shadows=0
over x
ok "and go" off x
ok "it unloads" gone x
ok "C{1} replaces them all" lp c states=1 replace=1
over c
is "and nothing runs" "" "$(trace)"
is "C is all there is" umbra_lp_c "$(cat $sysfs/patches)"
ok "both unload" gone a b
ok "C is disabled" off c
ok "and unloads" gone c
nothing_left "other kinds"

step "no memory"
# Each allocation of ours fails once; klp's own are not ours.
n=1
bad=
while [ $n -lt 60 ]; do
	lp a states=1,2 wait=1 || bad="$bad; load"
	echo $n >/sys/module/umbra/parameters/fail_nth
	out=$(sh -c 'echo 1 >/sys/module/umbra_lp_a/parameters/enable' 2>&1)
	code=$?
	left=$(cat /sys/module/umbra/parameters/fail_nth)
	echo 0 >/sys/module/umbra/parameters/fail_nth
	if [ $code -eq 0 ]; then
		over a
		off a || bad="$bad; $n: disable"
		gone a || bad="$bad; $n: unload"
		[ "$left" -gt 0 ] && break
	else
		case $out in
		*"annot allocate memory"*) ;;
		*) bad="$bad; $n said $out" ;;
		esac
		[ "$(live 1) $(live 2) $(users 1) $(users 2)$(cat $sysfs/patches)" = "0 0 0 0" ] ||
			bad="$bad; $n: something is left"
		gone a || bad="$bad; $n: unload"
	fi
	n=$((n + 1))
done
[ $n -gt 5 ] && [ $n -lt 60 ] && [ -z "$bad" ]
verdict "r35 each allocation fails once: refused, nothing half-done" $? "$n: $bad"
count "allocations failed in turn" $((n - 1))
ok "A{1,2} is enabled" lp a states=1,2
over a
n=1
while [ $n -lt 60 ]; do
	echo $n >/sys/module/umbra/parameters/fail_nth
	out=$(sh -c "echo 0 >$klp/umbra_lp_a/enabled" 2>&1) && break
	case $out in
	*"annot allocate memory"*) ;;
	*) bad="$bad; $n said $out" ;;
	esac
	[ "$(runs) $(live 1) $(live 2)" = "a 4 4" ] || bad="$bad; $n: something changed"
	n=$((n + 1))
done
echo 0 >/sys/module/umbra/parameters/fail_nth
[ $n -gt 1 ] && [ $n -lt 60 ] && [ -z "$bad" ]
verdict "r35 the same when it is disabled: refused before anything is done" $? "$n: $bad"
over a
ok "A unloads" gone a
nothing_left "no memory"

step "writes that race with the end of a transition"
# A state that blocks: taken back before the end or refused after it, never
# disabled.
i=0
bad=
taken_back=0
dmesg -c >/dev/null
while [ $i -lt 12 ]; do
	touch /tmp/write
	{
		# A transition may take a second, if a task was missed at first.
		usleep $((i * 250000))
		while [ -e /tmp/write ]; do
			echo 0 >$klp/umbra_lp_a/enabled
			usleep 3000
		done
	} 2>/dev/null &
	lp a states=1 block=1 || bad="$bad; $i: load"
	over a || bad="$bad; $i: stuck"
	usleep $((i * 250000 + 50000))
	rm /tmp/write
	wait $!
	over a || bad="$bad; $i: stuck"
	if [ -e $klp/umbra_lp_a ]; then
		[ "$(cat $klp/umbra_lp_a/enabled)" = 1 ] || bad="$bad; $i: disabled"
		lp b states=1 replace=1 && over b && off b && gone b || bad="$bad; $i: way out"
	else
		taken_back=$((taken_back + 1))
	fi
	gone a || bad="$bad; $i: unload"
	i=$((i + 1))
done
dmesg -c >/tmp/race
[ -z "$bad" ] && ! grep -q 'lp_a: state 1 (s1): pre_unpatch\|nobody asked' /tmp/race
verdict "r69_t5 12 rounds: $taken_back taken back, none disabled" $? "$bad"
[ "$(grep -c 'refused: .*blocks\|refused: .*block_disable' /tmp/race)" -gt 0 ]
verdict "r69 and refused when it was too late" $? "$(grep -c refused /tmp/race) refused"
nothing_left race

step "force"
trace >/dev/null
ok "B{2} is enabled" lp b states=2
over b
ok "A{1} beside it, and on top" lp a states=1
over a
busy 1
trace >/dev/null
ok "disabling A begins" sh -c "echo 0 >$klp/umbra_lp_a/enabled"
is "it stalls" 1 "$(cat $klp/umbra_lp_a/transition)"
ok "it is forced" sh -c "echo 1 >$klp/umbra_lp_a/force"
over a
is "d8_s5 no post_unpatch" "a1.pre_unpatch" "$(trace)"
is "d8_s5 the shadows are still there" 4 "$(live 1)"
is "d8_s5 the JSON says for whom they wait" 1 \
	"$(grep -c '^{"id":1,.*"live":4,"quarantined":"umbra_lp_a"}' $debug/json)"
document "with a forced livepatch"
is "B is not concerned" "umbra_lp_b 4" "$(cat $sysfs/patches) $(live 2)"
said >/dev/null
says "r92 the module cannot be unloaded" "" rmmod umbra_lp_a
says "d8 a patch with that state is refused" "" lp c states=1
is "d8 for a reason" 1 "$(said | grep -c 'refused.*state 1 (s1)' | sed 's/[2-9]/1/')"
ok "one without it is not" lp c states=3
busy 0
over c
ok "C and B are disabled as ever" off c
off b
is "and clean up" "0 0" "$(live 2) $(live 3)"
ok "and unload" gone b c
busy 1
ok "D{4} begins" lp d states=4
is "it stalls" 1 "$(cat $klp/umbra_lp_d/transition)"
ok "B{5} may not begin now" sh -c '! insmod /modules/umbra_lp_b.ko states=5'
ok "it is forced" sh -c "echo 1 >$klp/umbra_lp_d/force"
over d
busy 0
trace >/dev/null
ok "B{5} replaces it while a task may run old code" lp b states=5 replace=1
over b
is "a forced enable pins nothing" "b5.pre_patch d4.pre_unpatch d4.post_unpatch b5.post_patch" "$(trace)"
ok "D unloads" gone d
busy 1
ok "C{6} begins to replace B" lp c states=6 replace=1
is "it stalls" 1 "$(cat $klp/umbra_lp_c/transition)"
ok "it is forced" sh -c "echo 1 >$klp/umbra_lp_c/force"
over c
busy 0
is "d8_r92 B's clean-up waits, C is in" "c6.pre_patch b5.pre_unpatch c6.post_patch" \
	"$(trace | sed 's/^b5.pre_patch [^ ]* [^ ]* b5.post_patch //')"
is "d8 B's shadows are still there, and C's" "4 4" "$(live 5) $(live 6)"
says "r92 B's module cannot be unloaded" "" rmmod umbra_lp_b
ok "C is disabled" off c
ok "and unloads" gone c
says "umbra.ko stays, for it keeps what was forced" "" rmmod umbra
finish
