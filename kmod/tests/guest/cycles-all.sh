# SPDX-License-Identifier: GPL-2.0
# cycles.sh, ten thousand times: half an hour.
rounds=10000 warm=200 used=10 hooked=100
. /guest/cycles.sh
