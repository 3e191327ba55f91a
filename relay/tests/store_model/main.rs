//! The store against a model of it: whatever it is asked, in whatever order, while time moves and
//! the file is closed and opened again, it answers as the design says; nothing is lost or doubled,
//! and whoever waits is told of what changed and of nothing else.
//!
//! `PROPTEST_CASES` sets how many runs are made and `PROPTEST_RNG_SEED` repeats them. A run that
//! fails is shrunk to the fewest operations that still fail.

mod model;
mod op;
mod run;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{FailurePersistence, FileFailurePersistence, contextualize_config};

use op::op;
use run::Run;

fn config() -> ProptestConfig {
    let beside = FileFailurePersistence::WithSource("regressions");
    let failure_persistence: Option<Box<dyn FailurePersistence>> = Some(Box::new(beside));
    contextualize_config(ProptestConfig { cases: 128, failure_persistence, ..Default::default() })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_store_does_what_its_model_does(ops in vec(op(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let mut run = Run::start();
            for op in ops {
                run.step(op).await?;
            }
            run.finish().await
        })?;
    }
}
