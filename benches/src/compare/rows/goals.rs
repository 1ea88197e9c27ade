//! The table of speeds: at which sizes a measure is taken, and what is to be reached there.

use super::super::lines::play::OBJECTS;
use super::super::targets::Goal;
use super::catalogue::{K, M, Setting};

const USUAL: Setting = Setting::Usual;
const HUGE: Setting = Setting::HugePages;
const MIMALLOC: Setting = Setting::Mimalloc;

const PAPAYA: &[&str] = &["papaya-sized", "papaya", "papaya-blocking"];

const HIT_1M: &[Goal] = &[
    Goal::Within(1.35, "bound-p32"),
    Goal::Faster(1.35, "papaya", PAPAYA),
    Goal::Faster(2.0, "dashmap", &["dashmap"]),
    Goal::Faster(3.5, "cds_lfht", &["cds_lfht"]),
    Goal::Faster(400.0, "klp", &["klp"]),
];
const MISS_1M: &[Goal] = &[
    Goal::Within(0.6, "bound-p64"),
    Goal::Faster(1.4, "papaya", PAPAYA),
];
const MANY_1M: &[Goal] = &[
    Goal::Within(1.0, "bound-p64"),
    Goal::Faster(2.7, "papaya", PAPAYA),
];
const NO_LINE: &[Goal] = &[Goal::AtMost(0.0)];

/// Where a measure is taken, if no size is asked for: the measure, its size, where everybody
/// has memory from, and what is to be reached, if anything.
pub(super) const TARGETS: &[(&str, usize, Setting, &[Goal])] = &[
    (
        "get-hit",
        K,
        USUAL,
        &[
            Goal::Within(2.3, "bound-p64"),
            Goal::Faster(1.8, "papaya", PAPAYA),
            Goal::Faster(3.0, "dashmap", &["dashmap"]),
            Goal::Faster(2.0, "klp", &["klp"]),
        ],
    ),
    ("get-hit", M, USUAL, HIT_1M),
    ("get-hit", M, HUGE, HIT_1M),
    ("get-dep", M, USUAL, &[Goal::Within(1.45, "bound-chase")]),
    ("get-dep", 10 * M, HUGE, &[Goal::Within(1.6, "bound-chase")]),
    ("get-miss", K, USUAL, &[]),
    ("get-miss", M, USUAL, MISS_1M),
    ("get-miss", M, HUGE, MISS_1M),
    ("dep-miss", K, USUAL, &[]),
    ("dep-miss", M, USUAL, &[]),
    ("get-many", M, USUAL, MANY_1M),
    ("get-many", M, HUGE, MANY_1M),
    ("scattered-hit", M, USUAL, &[]),
    ("scattered-miss", M, USUAL, &[]),
    ("scattered-many", M, USUAL, &[]),
    ("guard-call", K, USUAL, &[]),
    ("guard-session", K, USUAL, &[Goal::AtMost(1.5)]),
    ("threads", M, USUAL, &[Goal::AtLeast(1.95)]),
    ("threads-miss", M, USUAL, &[]),
    ("grow-longest", M, USUAL, &[Goal::AtMost(100.0)]),
    ("grow-longest", M, MIMALLOC, &[]),
    (
        "grow-total",
        M,
        USUAL,
        &[Goal::Faster(1.0, "papaya", &["papaya"])],
    ),
    ("grow-total", M, MIMALLOC, &[]),
    ("mixed-5", M, USUAL, &[Goal::AheadOfAll]),
    ("mixed-5", M, MIMALLOC, &[]),
    ("mixed-50", M, USUAL, &[Goal::AheadOfAll]),
    ("mixed-50", M, MIMALLOC, &[]),
    ("free-all-invisible", M, USUAL, &[Goal::AtMost(10.0)]),
    ("free-all-reclaimed", M, USUAL, &[Goal::AtMost(10.0)]),
    ("free-all-reader", M, USUAL, &[Goal::AtMost(1.0)]),
    ("free-map-invisible", M, USUAL, &[]),
    ("free-map-reader", M, USUAL, &[]),
    ("memory", M, USUAL, &[Goal::AtMost(75.0)]),
    ("gate-held", K, USUAL, &[]),
    ("gate-by-id", K, USUAL, &[]),
    ("plan", K, USUAL, &[]),
    ("lines-hit", OBJECTS, USUAL, NO_LINE),
    ("lines-miss", OBJECTS, USUAL, NO_LINE),
    ("lines-many", OBJECTS, USUAL, NO_LINE),
    ("lines-session", OBJECTS, USUAL, &[]),
    ("lines-guard", OBJECTS, USUAL, &[]),
    ("lines-alloc", OBJECTS, USUAL, &[]),
    ("lines-free", OBJECTS, USUAL, &[]),
    ("lines-free-all", OBJECTS, USUAL, &[]),
    ("meet-hit", OBJECTS, USUAL, &[]),
    ("meet-alloc", OBJECTS, USUAL, &[]),
    ("hot-hit", OBJECTS, USUAL, &[]),
    ("hot-alloc", OBJECTS, USUAL, &[]),
    ("cold-hit", OBJECTS, USUAL, &[]),
    ("cold-miss", OBJECTS, USUAL, &[]),
];
