//! What is to be run, rendered: the same for every runtime.

use std::collections::BTreeSet;
use std::path::Path;

use penstock_common::Reason;
use penstock_common::pipeline::{Container, Setting};

use crate::attempt::job::Job;
use crate::attempt::judge::Verdict;

/// An image with all that it is given. Every text is data: nothing reads it again.
pub(super) struct Spec {
    pub(super) image: String,
    /// Replaces the entry point; empty: the image's.
    pub(super) command: Vec<String>,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<Variable>,
}

/// A variable.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    /// It is a secret's.
    pub(super) secret: bool,
}

impl Spec {
    /// `output` and `items` are where the program in the container finds them.
    pub(super) async fn render(container: &Container, job: &mut Job<'_>, output: &Path, items: &Path) -> Result<Self, Verdict> {
        let image = job.render("container.image", &container.image)?;
        check_image(&image).map_err(refuse)?;
        let all = |element: &str, texts: &[String]| -> Result<Vec<String>, Verdict> {
            texts.iter().enumerate().map(|(i, text)| job.render(&format!("container.{element}[{i}]"), text)).collect()
        };
        let (command, args) = (all("command", &container.command)?, all("args", &container.args)?);
        if command.first().is_some_and(String::is_empty) {
            return Err(refuse("container.command[0], the program, is empty".to_owned()));
        }
        let spec = job.lease.spec.clone();
        let secrets: BTreeSet<_> = spec.env.iter().filter(|(_, s)| matches!(s, Setting::Secret { .. })).map(|(name, _)| name).collect();
        let env = job.environment(output, items).await?;
        let env = env.into_iter().map(|(name, value)| Variable { secret: secrets.contains(&name), name, value }).collect();
        Ok(Self { image, command, args, env })
    }
}

/// What a template gave that cannot be used: never retried, since it would be the same again.
pub(super) fn refuse(why: String) -> Verdict {
    Verdict::failed(Reason::Template, &why)
}

/// An image's name must not be taken for an option, and what is no name is told before a registry is asked.
fn check_image(image: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if image.starts_with(|c: char| c.is_ascii_alphanumeric()) && image.chars().all(fits) && image.len() <= 512 {
        return Ok(());
    }
    let shown: String = image.chars().take(120).collect();
    Err(format!(
        "container.image is {shown:?}, which is no image's name: a letter or digit, then letters, digits and . _ - / : @, as in \
         registry.example.com/team/job:1.4"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_an_option_is_no_image() {
        for good in ["busybox", "localhost/job:1", "r.example.com:5000/a/b@sha256:00ff", "Quay.io/x"] {
            assert_eq!(check_image(good), Ok(()), "{good}");
        }
        for bad in ["", "--privileged", "-v", "a b", "a;b", "$(id)", "a\nb", "ä", "/abs"] {
            assert!(check_image(bad).is_err(), "{bad}");
        }
    }
}
