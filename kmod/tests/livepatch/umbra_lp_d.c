// SPDX-License-Identifier: GPL-2.0
#include "lp_patch.h"
