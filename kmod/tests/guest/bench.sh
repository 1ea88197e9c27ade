# SPDX-License-Identifier: GPL-2.0
# Instructions an operation, beside klp_shadow_*. Meant for -icount.
. /guest/lib.sh

step bench
ok "umbra.ko loads" load umbra
progress "counting instructions"
ok "figures" load umbra_bench
ok "umbra_bench unloads" rmmod umbra_bench
ok "umbra unloads" rmmod umbra
finish
