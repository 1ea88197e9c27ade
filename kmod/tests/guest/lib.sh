# SPDX-License-Identifier: GPL-2.0
# What the guest scripts share: the protocol with the host, and a look at umbra.
# Sourced, not run.

failed=0
sysfs=/sys/kernel/umbra
debug=/sys/kernel/debug/umbra

say() {
	echo "@umbra $1"
}

step() {
	say "{\"kind\":\"step\",\"name\":\"$1\"}"
}

progress() { # message done total
	say "{\"kind\":\"progress\",\"msg\":\"$1\",\"done\":${2:-0},\"total\":${3:-0}}"
}

count() { # name value
	say "{\"kind\":\"count\",\"name\":\"$1\",\"value\":$2}"
}

# A test's verdict: verdict NAME STATUS [DETAIL]
verdict() {
	if [ "$2" -eq 0 ]; then
		say "{\"kind\":\"test\",\"name\":\"$1\",\"ok\":true}"
	else
		failed=$((failed + 1))
		detail=$(echo "${3:-}" | tr -d '"\\' | tr '\n\t' '  ' | cut -c 1-300)
		say "{\"kind\":\"test\",\"name\":\"$1\",\"ok\":false,\"detail\":\"$detail\"}"
	fi
}

# is NAME WANTED GOT
is() {
	[ "$2" = "$3" ]
	verdict "$1" $? "wanted '$2', got '$3'"
}

# ok NAME COMMAND...: it succeeds
ok() {
	name=$1
	shift
	out=$("$@" 2>&1)
	verdict "$name" $? "$* said: $out"
}

# says NAME TEXT COMMAND...: it fails, with this text
says() {
	name=$1
	text=$2
	shift 2
	out=$("$@" 2>&1) && {
		verdict "$name" 1 "$* succeeded"
		return
	}
	case $out in
	*"$text"*) verdict "$name" 0 ;;
	*) verdict "$name" 1 "$* said: $out" ;;
	esac
}

finish() {
	if [ "$failed" -eq 0 ]; then
		say '{"kind":"done","ok":true}'
	else
		say '{"kind":"done","ok":false}'
	fi
	exit "$failed"
}

load() {
	mod=$1
	shift
	insmod "/modules/$mod.ko" "$@"
}

disable() {
	echo "$1" >$sysfs/disable
}

# Live shadows of an id.
live() {
	awk -v id="$1" '$1 == id { n = $2 } END { print n + 0 }' $debug/types
}

# Users of a state.
users() {
	awk -v id="$1" '$1 == id { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+$/) { n = $i; break } }
		END { print n + 0 }' $debug/states
}

# The callbacks that ran since the last call, from the kernel's log.
seen=0
events() {
	dmesg | grep '\] umbra: .*: state [0-9]* (.*): [a-z_]* on [a-z]* returned ' >/tmp/events
	tail -n +$((seen + 1)) /tmp/events | sed -n 's/^\[ *\([0-9]*\)\.\([0-9]*\)\] umbra: \([^:]*\): state \([0-9]*\) (.*): \([a-z_]*\) on [a-z]* returned \(-*[0-9]*\)$/@umbra {"kind":"event","t_us":\1\2,"patch":"\3","state":\4,"callback":"\5","result":\6}/p' |
		sed 's/"t_us":0*\([0-9]\)/"t_us":\1/'
	seen=$(wc -l </tmp/events)
}

# Live shadows of all ids that have some, as the host wants them.
live_message() { # after
	pairs=$(awk 'NR > 1 && $2 > 0 { printf "%s\"%s\":%s", sep, $1, $2; sep = "," }' $debug/types)
	say "{\"kind\":\"live\",\"after\":\"$1\",\"shadows\":{$pairs}}"
}

# The module's JSON document, for the host to judge: document WHEN
document() {
	sed 's/\\/\\\\/g; s/"/\\"/g' $debug/json >/tmp/document
	while IFS= read -r line; do
		say "{\"kind\":\"document\",\"name\":\"$1\",\"line\":\"$line\"}"
	done </tmp/document
	say "{\"kind\":\"document\",\"name\":\"$1\"}"
}

# A tree of empty files: tree WHERE DIRECTORIES FILES-IN-EACH
tree() {
	mkdir -p "$1"
	mount -t tmpfs -o nr_inodes=0 umbra "$1"
	dir=0
	while [ $dir -lt "$2" ]; do
		mkdir "$1/d$dir"
		(cd "$1/d$dir" && seq 1 "$3" | sed s,^,f, | xargs touch)
		dir=$((dir + 1))
		[ $((dir % 10)) -eq 0 ] && progress "making files" $((dir * $3)) $(($2 * $3))
	done
}
