# SPDX-License-Identifier: GPL-2.0
# Loads and unloads umbra.ko and a user of it many times, and compares what the
# kernel has allocated before and after. Its own tasks keep a few objects more or
# fewer at any moment, so a leak is what grows with the cycles. Meant for -icount,
# where waiting takes no time. 10,000 cycles: --run cycles-all.
. /guest/lib.sh

: "${rounds:=200}"
warm=${warm:-50}
# Every so many cycles one with a user, and one whose user hooks a function, which
# waits for tasks.
used=${used:-1}
hooked=${hooked:-25}

user() { # CYCLE
	[ $(($1 % used)) -eq 0 ] || return 0
	hook=0
	[ $(($1 % hooked)) -ne 0 ] || hook=1
	load umbra_cycle hook=$hook && rmmod umbra_cycle
}

cycle() { # HOW-MANY
	i=0
	while [ $i -lt "$1" ]; do
		load umbra && user $i && rmmod umbra || {
			echo "cycle $i"
			return 1
		}
		i=$((i + 1))
		[ $((i % 100)) -eq 0 ] && progress "loading and unloading" $i "$1"
	done
	return 0
}

# What is allocated, "name number noise" a line. The processor's own slab counts as
# full, so a cache's number is good to a slab; what umbra.ko allocates itself is
# counted to the piece when it unloads.
snapshot() {
	sleep 3
	echo 3 >/proc/sys/vm/drop_caches
	echo 1 >/proc/sys/vm/compact_memory
	for cache in /sys/kernel/slab/*/shrink; do
		echo 1 >"$cache"
	done
	sleep 1
	# MemFree leaves out what each processor keeps for itself, some hundred pages that
	# come and go since 6.7.
	awk '/^ *pages free/ { n += $3 } /^ *count:/ { n += $2 }
		END { print "pages-used", -n, 64 }' /proc/zoneinfo
	awk '/^Percpu:/ { print "percpu-pages", $2 / 4, 0 }' /proc/meminfo
	awk '{ n += $2 } END { print "pages-mapped", n / 4096, 8 }' /proc/vmallocinfo
	awk 'NR > 2 { print $1, $2, $5 }' /proc/slabinfo
}

step "$rounds cycles"
start=$(cut -d. -f1 /proc/uptime)
cycle "$warm"
snapshot >/tmp/before
snapshot >/tmp/before
cycle "$rounds"
verdict "umbra loads and unloads $rounds times" $?
snapshot >/tmp/after
count "cycles" "$rounds"
count "seconds" $(($(cut -d. -f1 /proc/uptime) - start))

# An object or a page for every four cycles is a leak.
awk -v most=$((rounds / 4)) '
	NR == FNR { before[$1] = $2; next }
	$2 - before[$1] > most + $3 { print $1, "grew by", $2 - before[$1] }
' /tmp/before /tmp/after >/tmp/grew
[ ! -s /tmp/grew ]
verdict "nothing that the kernel counts grew with the cycles" $? "$(cat /tmp/grew)"
echo "what differs:"
awk 'NR == FNR { before[$1] = $2; next } $2 != before[$1] { print $1, $2 - before[$1] }' /tmp/before /tmp/after
is "r54_the leak audit finds nothing in any cycle" 0 "$(dmesg | grep -c 'leak audit')"
finish
