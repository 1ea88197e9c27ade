//! Traces that are made up, and a program that is no trace at all.

use super::trace::{Counted, Reader};
use super::*;

/// Marks at 0x1000, the first thread's stack about 0x1ffe000000.
fn reader() -> Reader {
    let mut reader = Reader::default();
    reader.places(0x1000, 0x1f_fe00_0000);
    reader
}

fn turns(trace: &str) -> Vec<trace::Turn> {
    let mut reader = reader();
    for line in trace.lines() {
        assert!(reader.line(line.as_bytes()), "{line:?}");
    }
    reader.turns()
}

const TURN: &str = " S 00001000,8\n";
const BEGIN: &str = " S 00001008,8\n";
const END: &str = " S 00001010,8\n";

fn operation(accesses: &str) -> String {
    format!("{BEGIN}{accesses}\nI  00400000,3\n{END}")
}

#[test]
fn only_lines_that_the_other_thread_touches_are_shared() {
    // A lock in line 0x8000 that both write, an entry that each has for itself,
    // a header that is only read, and the stack.
    let one = operation(" M 00008000,4\n S 00009000,8\n L 0000a000,8\n S 1ffdfffff0,8");
    let other = operation(" M 00008038,4\n S 0000b000,8\n L 0000a000,8");
    let turns = turns(&format!("{TURN}{one}{one}{TURN}{other}{other}"));
    let counted = Counted::of(&turns[0], &turns[1]);
    assert_eq!(
        (counted.written, counted.met, counted.hottest),
        (1.0, 1.0, 1.0)
    );
    assert_eq!(counted.own, 2.0, "the lock and the entry, and no stack");
}

#[test]
fn a_line_that_is_only_read_there_is_shared_and_one_only_read_here_is_not() {
    let writes = operation(" S 00008000,8");
    let reads = operation(" L 00008000,8");
    let turns = turns(&format!("{TURN}{writes}{TURN}{reads}"));
    assert_eq!(Counted::of(&turns[0], &turns[1]).written, 1.0);
    assert_eq!(Counted::of(&turns[1], &turns[0]).written, 0.0);
}

#[test]
fn a_store_across_a_boundary_is_two_lines_and_locks_of_their_own_are_not_hot() {
    let one = operation(" S 0000803c,8") + &operation(" S 00009000,8");
    let turns = turns(&format!("{TURN}{one}{TURN}{one}"));
    let counted = Counted::of(&turns[0], &turns[1]);
    assert_eq!((counted.written, counted.met), (1.5, 0.0));
}

#[test]
fn the_hottest_line_is_no_sum_of_others_and_no_accident() {
    // Every fourth operation takes lock 0x8000; all others one of 16, in turn; and each has
    // a line that nobody else has.
    let operations: String = (0..640u64)
        .map(|n| {
            let lock = match (n * 7 + n / 16) % 4 {
                0 => 0x8000,
                _ => 0x9000 + (n / 3 * 5) % 16 * 64,
            };
            let own = 0x20_0000 + n * 64;
            operation(&format!(" M {lock:08x},4\n S {own:08x},8"))
        })
        .collect();
    let turns = turns(&format!("{TURN}{operations}{TURN}{operations}"));
    let counted = Counted::of(&turns[0], &turns[1]);
    assert!((0.2..0.3).contains(&counted.hottest), "{}", counted.hottest);
    assert!(counted.met < 0.15, "{}: what it was taken for", counted.met);

    // Lines of their own are no line that all wait for.
    let own: String = (0..100)
        .map(|n| operation(&format!(" S {:08x},8", 0x9000 + n * 64)))
        .collect();
    let turns = self::turns(&format!("{TURN}{own}{TURN}{own}"));
    assert_eq!(Counted::of(&turns[0], &turns[1]).hottest, 0.0);
}

#[test]
fn a_line_that_hardly_another_operation_touches_is_cold() {
    // One line that all read, and one each.
    let operations = |own: u64| -> String {
        (0..20)
            .map(|n| operation(&format!(" L 00008000,8\n L {:08x},8", own + n * 64)))
            .collect()
    };
    let list = operations(0x9000);
    let turns = turns(&format!("{TURN}{list}{TURN}{list}"));
    assert_eq!(Counted::of(&turns[0], &turns[1]).cold, 1.0);
}

#[test]
fn what_lies_outside_of_the_marks_or_is_no_trace_is_not_counted() {
    let mut reader = reader();
    assert!(!reader.line(b"==7== Lackey, an example Valgrind tool"));
    assert!(!reader.line(b" S what,8") && !reader.line(b"") && !reader.line(b" S 8000"));
    for line in [TURN.trim_end(), " S 00008000,8", " S 00001010,8"] {
        assert!(reader.line(line.as_bytes()));
    }
    assert_eq!(reader.turns(), [Vec::new()]);
}

#[test]
fn a_program_that_is_no_play_is_an_error_with_what_it_said() {
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        count(command).expect_err("refused").to_string()
    };
    let says = shell("echo 1000 2000; read go; echo sorry >&2; exit 3");
    assert!(
        says.contains("exit status: 3") && says.contains("sorry"),
        "{says}"
    );
    let says = shell("echo 1000 2000; read go; echo umbra 0");
    assert!(says.contains("took 0 turns and named 1"), "{says}");
    let says = shell("echo nowhere; read go; echo ' S 8,8' >&2");
    assert!(says.contains("\"nowhere\" is not two addresses"), "{says}");
    let says = shell("echo 1 2; read go; echo umbra 99");
    assert!(says.contains("names no turn"), "{says}");
    assert!(matches!(
        count(Command::new("/no/valgrind")),
        Err(Error::Valgrind(_))
    ));
}
