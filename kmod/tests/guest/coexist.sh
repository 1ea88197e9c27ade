# SPDX-License-Identifier: GPL-2.0
# A hook on a function that others are on too: a livepatch, a tracer, a direct call.
. /guest/lib.sh

par=/sys/module/umbra_lp_hook/parameters
klp=/sys/kernel/livepatch/umbra_lp_a

set_to() { # PARAMETER VALUE
	echo "$2" >"$par/$1"
}

on() {
	load umbra_lp_a states=1 && patched 1
}

patched() {
	tries=0
	while [ "$(cat $klp/transition 2>/dev/null || echo 0)" = 1 ]; do
		tries=$((tries + 1))
		[ $tries -gt 100 ] && return 1
		usleep 200000
	done
}

off() {
	echo 0 >$klp/enabled && patched || return
	tries=0
	until rmmod umbra_lp_a 2>/dev/null; do
		tries=$((tries + 1))
		[ $tries -gt 50 ] && return 1
		usleep 100000
	done
}

# Which code /proc/cmdline is: the hook's, the livepatch's, the stock one.
runs() {
	case $(cat /proc/cmdline) in
	hook+umbra_lp_a*) echo hook, livepatch ;;
	hook+*) echo hook, stock ;;
	umbra_lp_a*) echo livepatch ;;
	*) echo stock ;;
	esac
}

step "a livepatch and a hook"
ok "umbra.ko loads" load umbra
ok "the hook's module loads" load umbra_lp_hook
ok "the livepatch is there first" on
ok "the hook comes" set_to hook 1
is "a diverted call runs the replacement, and the function as compiled" "hook, stock" "$(runs)"
ok "the hook goes" set_to hook 0
is "the livepatch is as it was" livepatch "$(runs)"
set_to policy 1
ok "a hook that diverts no call of these" set_to hook 1
is "leaves them to the livepatch" livepatch "$(runs)"
ok "the livepatch goes first" off
is "what is left is the stock code" stock "$(runs)"
ok "the hook goes" set_to hook 0
set_to policy 0
ok "the hook is there first" set_to hook 1
ok "the livepatch comes" on
is "the other order is the same" "hook, stock" "$(runs)"
ok "the livepatch goes" off
is "the hook is as it was" "hook, stock" "$(runs)"
ok "the livepatch comes again" on
ok "the hook goes first" set_to hook 0
is "the livepatch is left" livepatch "$(runs)"
ok "and goes" off
is "the stock code is left" stock "$(runs)"

step "a tracer and a hook"
ok "the tracer is there first" set_to tracer 1
cat $par/tracer >/dev/null
ok "the hook comes" set_to hook 1
is "the hook diverts" "hook, stock" "$(runs)"
is "the tracer counts" 1 "$(cat $par/tracer)"
ok "the tracer goes" set_to tracer 0
is "the hook is as it was" "hook, stock" "$(runs)"
ok "the tracer comes again" set_to tracer 1
is "the hook diverts in the other order" "hook, stock" "$(runs)"
is "and the tracer counts" 1 "$(cat $par/tracer)"
ok "the hook goes first" set_to hook 0
is "the stock code is left" stock "$(runs)"
is "and the tracer" 1 "$(cat $par/tracer)"
ok "which goes" set_to tracer 0

step "another direct call and a hook"
ok "the other is there first" set_to direct 1
dmesg -c >/dev/null
says "the hook is refused" "esource busy" set_to hook 1
is "the log says why" 1 "$(dmesg | grep -c "umbra: .*another tracer's direct call is there")"
is "and nothing is changed" stock "$(runs)"
ok "the other goes" set_to direct 0
ok "the hook comes" set_to hook 1
says "now the other is refused" "esource busy" set_to direct 1
is "the hook is as it was" "hook, stock" "$(runs)"
ok "the hook goes" set_to hook 0
ok "the hook's module unloads" rmmod umbra_lp_hook
is "ftrace has nothing of ours on it" 0 \
	"$(grep -c cmdline_proc_show /sys/kernel/debug/tracing/enabled_functions)"
ok "umbra unloads" rmmod umbra
is "the leak audit" "unloaded, 0 shadows leaked" \
	"$(dmesg | sed -n 's/.*\] umbra: \(unloaded.*\)/\1/p' | tail -n 1)"
finish
