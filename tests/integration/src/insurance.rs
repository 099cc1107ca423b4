//! The example of the repository, copied so that tests write nothing into it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use penstock_client::Submit;

use crate::witness::Witness;

/// A copy.
pub struct Insurance {
    folder: PathBuf,
}

/// Where the example is.
pub fn original() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/insurance")
}

impl Insurance {
    /// Copies it into a folder, which may exist.
    ///
    /// # Panics
    /// When the example is not as expected.
    pub fn copy(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("makes a folder");
        for part in [".", "jobs", "data"] {
            std::fs::create_dir_all(folder.join(part)).expect("makes a folder");
            for entry in std::fs::read_dir(original().join(part)).expect("the example is there").flatten() {
                if entry.file_type().expect("is something").is_file() {
                    std::fs::copy(entry.path(), folder.join(part).join(entry.file_name())).expect("copies");
                }
            }
        }
        Self { folder: folder.to_owned() }
    }

    /// Has each task witnessed.
    ///
    /// # Panics
    /// When the pipeline cannot be written.
    pub fn witnessed(self, witness: &Witness) -> Self {
        let plain = std::fs::read_to_string(self.pipeline()).expect("is there");
        let text = plain.replace("run: [python3,", &format!("run: [{}, python3,", witness.argv()));
        assert_ne!(plain, text, "the example's tasks are written otherwise than this test expects");
        std::fs::write(self.pipeline(), text).expect("writes");
        self
    }

    /// Its file.
    pub fn pipeline(&self) -> PathBuf {
        self.folder.join("pipeline.yaml")
    }

    /// Its text.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn document(&self) -> String {
        std::fs::read_to_string(self.pipeline()).expect("is there")
    }

    /// Where a run that was submitted with this name writes.
    pub fn work(&self, name: &str) -> PathBuf {
        self.folder.join("work").join(name)
    }

    /// A run that writes into a folder of its own, every task `slow` seconds long.
    pub fn submit(&self, name: &str, slow: f64) -> Submit {
        let mut submit = Submit { run_id: Some(name.to_owned()), ..Submit::of("insurance") };
        submit.params.insert("slow".to_owned(), slow.to_string().into());
        submit.params.insert("work_dir".to_owned(), self.work(name).display().to_string().into());
        submit
    }

    /// Counts again what was loaded, by the example's own checker, and returns each table's checksum.
    ///
    /// # Panics
    /// When what was loaded is not what it must be.
    pub fn verify(&self, work: &Path) -> BTreeMap<String, String> {
        let checker = self.folder.join("verify.py");
        let output = Command::new("python3").arg(checker).arg("--work").arg(work).output().expect("python3 starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "verify.py says that it is NOT as expected:\n{text}{}", String::from_utf8_lossy(&output.stderr));
        let sums = text.lines().filter_map(|line| line.strip_prefix("checksum ")).filter_map(|rest| rest.split_once(' '));
        let sums: BTreeMap<_, _> = sums.map(|(table, sum)| (table.to_owned(), sum.to_owned())).collect();
        assert!(sums.len() >= 6, "verify.py prints a checksum a table: {text}");
        sums
    }
}
