//! The migrations are embedded; cargo does not notice by itself that one more directory is there.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
