use umbra_shadow::{Epoch, Smr};

fn main() {
    let guard = Epoch.pin();
    std::thread::spawn(move || drop(guard));
}
