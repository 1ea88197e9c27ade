use umbra_shadow::{Epoch, Table};

fn main() {
    let table = Table::new(Epoch, 1).unwrap();
    let session = table.session();
    std::thread::scope(|s| {
        s.spawn(move || drop(session));
    });
}
