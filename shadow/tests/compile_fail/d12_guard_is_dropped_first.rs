use umbra_shadow::{Epoch, ShadowMap, Smr};

fn main() {
    let map = ShadowMap::<u32>::new().unwrap();
    let guard = Epoch.pin();
    let value = map.get_or_insert_with(1, &guard, || 7).unwrap();
    drop(guard);
    println!("{value}");
}
