//! Compiles the C peer where it is asked for and its library is there.
//!
//! Feature `lfht` without liburcu is a warning that says what to install, and
//! the comparison then says so too: `--all-features` works on every machine.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(have_lfht)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=c/lfht.c");
    #[cfg(feature = "lfht")]
    lfht();
}

#[cfg(feature = "lfht")]
fn lfht() {
    let mut build = cc::Build::new();
    build.file("c/lfht.c").opt_level(3).warnings(true);
    // The check comes apart from the build: an error in our own file must not
    // look like a missing library.
    let there = build
        .clone()
        .cargo_metadata(false)
        .cargo_warnings(false)
        .get_compiler()
        .to_command()
        .args(["-fsyntax-only", "-include", "urcu/rculfhash.h"])
        .args(["-x", "c", "/dev/null"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        println!(
            "cargo::warning=the peer cds_lfht is left out: urcu/rculfhash.h was not found; \
             apt-get install liburcu-dev, then touch benches/build.rs"
        );
        return;
    }
    build.compile("umbra_lfht");
    println!("cargo::rustc-link-lib=urcu-cds");
    println!("cargo::rustc-link-lib=urcu-memb");
    println!("cargo::rustc-cfg=have_lfht");
}
