//! Generates the messages and services of `rientro/v1` and the descriptors that reflection serves.

use std::path::PathBuf;

const FILES: [&str; 8] = [
    "rientro/v1/agent.proto",
    "rientro/v1/common.proto",
    "rientro/v1/journal.proto",
    "rientro/v1/operator.proto",
    "rientro/v1/plan.proto",
    "rientro/v1/snapshot.proto",
    "rientro/v1/verb.proto",
    "rientro/v1/view.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    tonic_prost_build::configure()
        // Maps are ordered, so that equal messages have equal bytes: the journal hashes them.
        .btree_map(".")
        .file_descriptor_set_path(out.join("rientro.v1.bin"))
        .compile_protos(&FILES, &["."])?;
    Ok(())
}
