# SPDX-License-Identifier: GPL-2.0
# The demo: 100,000 inodes that the kernel made, a hook on a function that every
# path walk calls, and shadows that decide, inode by inode, which code runs.
. /guest/lib.sh

dirs=100
each=1000

step objects
tree /demo $dirs $each
# Which are which, from the shell's point of view. One pass: the machine counts
# every instruction, so it is slow.
ls -iR /demo | awk '
	/:$/ { dir = substr($0, 1, length($0) - 1); next }
	dir == "/demo" || NF != 2 { next }
	{ total++ }
	$1 % 4 == 0 { print dir "/" $2 }
	$1 % 4 == 1 && !plain { plain = dir "/" $2 }
	END { print total, plain >"/tmp/total" }' >/tmp/marked
read -r total good </tmp/total
is "live objects" $((dirs * each)) "$total"
count "files whose inodes are the objects" "$total"

step load
ok "umbra.ko loads" load umbra counters=1

bad=$(head -n 1 /tmp/marked)
marked=$(wc -l </tmp/marked)
frozen=$(ls -id /demo /demo/d* | awk '$1 % 2 == 0' | wc -l)
cold=$(ls -id /demo/d* | awk '$1 % 2 == 0 { print $2; exit }')
warm=$(ls -id /demo/d* | awk '$1 % 2 == 1 { print $2; exit }')
ok "before any patch: cat $bad" cat "$bad"

# What find, stat and cat see of the objects: exercise TEXT-OF-A-REFUSAL
exercise() {
	ok "stat of a file with a shadow" stat "$bad"
	says "cat of a file with a shadow" "$1" cat "$bad"
	ok "cat of a file without" cat "$good"
	# The glob is one command line: a thousand opens of each directory.
	for d in /demo/d0 /demo/d1 /demo/d2; do
		cat $d/* 2>&1 >/dev/null
	done >/tmp/refused
	want=$(grep -c '^/demo/d[012]/' /tmp/marked)
	is "of 3000 files, as many refused as have a shadow" "$want" "$(grep -c "$1" /tmp/refused)"
}

after() {
	events
	live_message "$1"
}

step "P1 {1}"
ok "P1 loads" load umbra_demo_p1
after "P1 {1}"
is "P1: every fourth file has a shadow" "$marked" "$(live 1)"
exercise "Permission denied"
is "find sees files with and without" $((each * 10)) "$(find /demo/d1? -type f | wc -l)"
# An object that goes takes its shadow along.
rm -f "$(tail -n 1 /tmp/marked)"
is "a removed file's shadow is gone" $((marked - 1)) "$(live 1)"
marked=$((marked - 1))
says "P1 cannot be unloaded while it is enabled" "" rmmod umbra_demo_p1

step "P1 -> P2 {1}"
ok "P2 loads" load umbra_demo_p2
after "P1 -> P2 {1}"
is "r53_r90_P2, made of the same source, has the state: no shadow came or went" "$marked" "$(live 1)"
exercise "Operation not permitted"
ok "P1 can be unloaded" rmmod umbra_demo_p1

step "P2 -> P3 {1,2}"
ok "P3 loads" load umbra_demo_p3
exercise "Operation not permitted"
after "P2 -> P3 {1,2}"
is "P3: no shadow of 1 came or went" "$marked" "$(live 1)"
# exercise asked for one of them twice.
is "P3: a second shadow for each file that was asked for" "$want" "$(live 2)"
is "P3: and each request counted" $((want + 1)) "$(cat /sys/module/umbra_demo_p3/parameters/denials)"
ok "P2 can be unloaded" rmmod umbra_demo_p2

step "P3 -> P4 {1,3}"
ok "P4 loads" load umbra_demo_p4
after "P3 -> P4 {1,3}"
is "P4: no shadow of 1 came or went" "$marked" "$(live 1)"
is "P4 dropped state 2 and its shadows" 0 "$(live 2)"
is "P4: every other directory has a shadow" "$frozen" "$(live 3)"
exercise "Operation not permitted"
says "no file can be made in a frozen directory" "Operation not permitted" touch "$cold/new"
says "nor removed" "Operation not permitted" rm "$cold/f1"
ok "a file can be made in another" touch "$warm/new"
ok "and removed" rm "$warm/new"
ok "P3 can be unloaded" rmmod umbra_demo_p3

step "P4 -> P1 {1}"
ok "r91_P1, which was replaced, is loaded anew" load umbra_demo_p1
after "P4 -> P1 {1}"
is "P1 again: no shadow of 1 came or went" "$marked" "$(live 1)"
is "state 3 and its shadows are gone" 0 "$(live 3)"
exercise "Permission denied"
ok "a file can be made where it was frozen" touch "$cold/new"
rm "$cold/new"
ok "P4 can be unloaded" rmmod umbra_demo_p4

step "P1 disabled"
count "shadows at most at once" $((marked + frozen))
awk '/^hits/ { print $2, $4, $6 }' $debug/hooks >/tmp/counts
read -r hits misses diverted </tmp/counts
count "lookups by hooks that found a shadow" "$hits"
count "lookups that found none" "$misses"
count "calls diverted" "$diverted"
ok "P1 is disabled" disable umbra_demo_p1
after "P1 disabled"
is "no shadow is left" "0 0 0" "$(live 1) $(live 2) $(live 3)"
ok "cat of any file" cat "$bad"
ok "P1 can be unloaded" rmmod umbra_demo_p1

step figures
progress "counting instructions"
ok "figures" load umbra_bench
rmmod umbra_bench
live_message "the end"

step unload
ok "umbra unloads" rmmod umbra
is "the leak audit" "unloaded, 0 shadows leaked" \
	"$(dmesg | sed -n 's/.*\] umbra: \(unloaded.*\)/\1/p' | tail -n 1)"
finish
