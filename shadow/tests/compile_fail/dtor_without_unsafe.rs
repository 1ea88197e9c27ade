use std::ffi::c_void;

unsafe extern "C" fn release(_obj: *mut c_void, _data: *mut c_void) {}

fn main() {
    let _ = umbra_shadow::Dtor::new(release);
}
