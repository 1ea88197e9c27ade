use umbra_shadow::{Epoch, ShadowMap, Smr};

fn main() {
    let map = ShadowMap::<u32>::new().unwrap();
    let kept = {
        let guard = Epoch.pin();
        map.get(1, &guard)
    };
    println!("{kept:?}");
}
