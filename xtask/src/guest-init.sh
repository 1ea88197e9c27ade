#!/bin/busybox sh
# The guest's first process: mounts what scripts expect, runs /guest/NAME.sh
# (NAME from umbra.run= on the kernel command line) and powers off.
#
# What a script prints goes through /dev/kmsg, line by line: one stream with the
# kernel's own messages, in order, and no line torn by another. Lines that are no
# message are marked, so that a script that says "WARNING:" is not mistaken for
# the kernel.

/bin/busybox mkdir -p /proc /sys /dev /tmp /run /etc
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev 2>/dev/null
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t debugfs debugfs /sys/kernel/debug
mount -t tmpfs -o nr_inodes=0,size=75% tmpfs /tmp
# A task that is stuck for more than a minute is a failure; say so before the
# host's watchdog does.
[ -w /proc/sys/kernel/hung_task_timeout_secs ] &&
	echo 90 >/proc/sys/kernel/hung_task_timeout_secs

run=$(sed -n 's/.*umbra\.run=\([^ ]*\).*/\1/p' /proc/cmdline)
cd /tmp || exit 1

if [ "$run" = shell ]; then
	echo "modules are in /modules, scripts in /guest; leave with exit or Ctrl-D"
	setsid cttyhack sh
	poweroff -f
fi

exec 3>/dev/kmsg
relay() {
	while IFS= read -r line || [ -n "$line" ]; do
		case $line in
		*@umbra*) echo "<6>$line" >&3 ;;
		'') ;;
		*) echo "<6>guest: $line" >&3 ;;
		esac
	done
}

{
	sh "/guest/$run.sh" </dev/null 2>&1
	echo "@umbra {\"kind\":\"exit\",\"code\":$?}"
} | relay
exec 3>&-
poweroff -f
