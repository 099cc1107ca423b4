//! The arguments of `create`, and what goes by the program's own environment so that `ps` does not show it. Pure.

use std::ffi::OsString;
use std::path::Path;

use penstock_common::pipeline::{Container, Pull};

use super::super::names::{Identity, RUN, TASK};
use super::super::spec::{Spec, Variable};

/// Where the container sees its output files.
pub(super) const MOUNTED_AT: &str = "/penstock";

/// `create` with its arguments.
#[derive(Debug)]
pub(super) struct Create {
    pub(super) arguments: Vec<OsString>,
    /// Set for the program itself, which takes them over by `--env NAME`.
    pub(super) env: Vec<(String, String)>,
}

/// Variables that podman, docker or their libraries read themselves, by name and by how they begin. Set for them by a document,
/// they would decide what runs on the worker and not in the container.
const OWN: [&str; 30] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "IFS",
    "ENV",
    "ALL_PROXY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "FTP_PROXY",
    "RES_OPTIONS",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "REGISTRY_AUTH_FILE",
    "STORAGE_DRIVER",
    "STORAGE_OPTS",
    "SSH_AUTH_SOCK",
    "SSH_ASKPASS",
    "GODEBUG",
    "GOGC",
    "GOMAXPROCS",
    "GOMEMLIMIT",
    "GOTRACEBACK",
    "GOCOVERDIR",
    "GORACE",
];
const OWN_PREFIXES: [&str; 19] = [
    "LD_",
    "DOCKER_",
    "CONTAINER_",
    "CONTAINERS_",
    "_CONTAINERS_",
    "PODMAN_",
    "_PODMAN_",
    "BUILDAH_",
    "_BUILDAH_",
    "XDG_",
    "DBUS_",
    "NOTIFY_",
    "LISTEN_",
    "SSL_CERT_",
    "CNI_",
    "NETAVARK_",
    "OTEL_",
    "MALLOC_",
    "BASH_",
];

/// `people` are the run and the task, for people. `directory` is mounted into the container; `operators` are options of
/// the configuration. An `Err` says what cannot be passed on.
pub(super) fn create(
    container: &Container,
    spec: &Spec,
    identity: &Identity,
    people: (&str, &str),
    directory: &Path,
    operators: &[OsString],
) -> Result<Create, String> {
    let mut arguments: Vec<OsString> = vec!["create".into()];
    arguments.extend(operators.iter().cloned());
    // The log is read back by `logs`, which not every driver can.
    let pull = match container.pull {
        Pull::Missing => "missing",
        Pull::Always => "always",
        Pull::Never => "never",
    };
    for option in ["--name", &identity.name, "--log-driver", "json-file", "--pull", pull] {
        arguments.push(option.into());
    }
    for (name, value) in
        identity.labels().into_iter().chain([(RUN.to_owned(), people.0.to_owned()), (TASK.to_owned(), people.1.to_owned())])
    {
        arguments.extend(["--label".into(), format!("{name}={value}").into()]);
    }
    if let Some(cpu) = container.cpu_millis {
        arguments.extend(["--cpus".into(), format!("{}.{:03}", cpu / 1_000, cpu % 1_000).into()]);
    }
    if let Some(bytes) = container.memory_bytes {
        // The same with swap, or there would be twice as much.
        arguments.extend(["--memory".into(), format!("{bytes}b").into(), "--memory-swap".into(), format!("{bytes}b").into()]);
    }
    let directory = directory.to_str().filter(|path| !path.contains([',', '"', '\n'])).ok_or_else(|| {
        format!(
            "the worker's scratch directory {} cannot be mounted into a container: its path holds a comma or quote",
            directory.display()
        )
    })?;
    arguments.extend(["--mount".into(), format!("type=bind,source={directory},destination={MOUNTED_AT}").into()]);
    let mut env = Vec::new();
    for variable in &spec.env {
        match by(variable)? {
            By::Environment => {
                arguments.extend(["--env".into(), (&variable.name).into()]);
                env.push((variable.name.clone(), variable.value.clone()));
            }
            By::Argument => arguments.extend(["--env".into(), format!("{}={}", variable.name, variable.value).into()]),
        }
    }
    let mut command = spec.command.iter();
    if let Some(program) = command.next() {
        if program.starts_with('[') {
            return Err(format!("container.command[0] is {program:?}, and podman would read what begins with `[` as a list"));
        }
        arguments.extend(["--entrypoint".into(), program.into()]);
    }
    // From here on nothing is an option: both programs stop looking for options at the image.
    arguments.push((&spec.image).into());
    arguments.extend(command.chain(&spec.args).map(Into::into));
    Ok(Create { arguments, env })
}

enum By {
    Environment,
    Argument,
}

fn by(variable: &Variable) -> Result<By, String> {
    let name = &variable.name;
    // A name that ends in `*` would let podman copy the worker's own variables.
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || !name.chars().all(fits) {
        return Err(format!("env has {name:?}: in a container, a variable's name is a letter or _, then letters, digits, _, . and -"));
    }
    let upper = name.to_ascii_uppercase();
    let is_own = OWN.contains(&upper.as_str()) || OWN_PREFIXES.iter().any(|prefix| upper.starts_with(prefix));
    match (is_own, variable.secret) {
        (false, _) => Ok(By::Environment),
        (true, false) => Ok(By::Argument),
        (true, true) => Err(format!(
            "env.{name} is a secret, and the container runtime's own program reads a variable of this name, so it cannot be passed without \
             being shown: use another name, and rename it in the image's entry point"
        )),
    }
}

#[cfg(test)]
mod tests {
    use penstock_common::lease::Lease;

    use super::*;

    fn container() -> Container {
        serde_json::from_value(serde_json::json!({"image": "i", "pull": "never", "cpu_millis": 1050, "memory_bytes": 1024})).unwrap()
    }
    fn identity(lease: &Lease) -> Identity {
        Identity::new("default", "w".into(), lease)
    }
    fn variable(name: &str, value: &str, secret: bool) -> Variable {
        Variable { name: name.into(), value: value.into(), secret }
    }
    type Made = (Vec<String>, Vec<(String, String)>);

    fn made(spec: &Spec) -> Result<Made, String> {
        let lease = crate::executor::container::testing::lease();
        let create =
            create(&container(), spec, &identity(&lease), ("run", "task[0]"), Path::new("/s"), &["--network".into(), "host".into()])?;
        Ok((create.arguments.into_iter().map(|a| a.into_string().unwrap()).collect(), create.env))
    }
    fn spec(command: &[&str], args: &[&str], env: Vec<Variable>) -> Spec {
        let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        Spec { image: "image:1".into(), command: texts(command), args: texts(args), env }
    }

    #[test]
    fn everything_of_the_document_stands_after_the_image_or_has_an_option_of_its_own() {
        let (arguments, env) = made(&spec(&["/bin/p", "-x"], &["--privileged", "$(id)"], vec![variable("A", "1\n2", true)])).unwrap();
        let text = arguments.join(" ");
        assert!(text.starts_with("create --network host --name penstock-"), "{text}");
        assert!(text.contains("--pull never") && text.contains("--cpus 1.050 --memory 1024b --memory-swap 1024b"), "{text}");
        assert!(text.ends_with("--env A --entrypoint /bin/p image:1 -x --privileged $(id)"), "{text}");
        assert_eq!(env, [("A".to_owned(), "1\n2".to_owned())]);
    }

    #[test]
    fn what_the_runtime_itself_would_read_is_not_set_for_it() {
        let (arguments, env) = made(&spec(&[], &[], vec![variable("LD_PRELOAD", "/x.so", false), variable("path", "/y", false)])).unwrap();
        assert_eq!(env, []);
        assert!(arguments.windows(2).any(|pair| pair == ["--env", "LD_PRELOAD=/x.so"]), "{arguments:?}");
        assert!(made(&spec(&[], &[], vec![variable("DOCKER_HOST", "x", true)])).unwrap_err().contains("use another name"));
    }

    #[test]
    fn names_that_mean_more_to_podman_are_refused() {
        for name in ["*", "A*", "1A", "A B", "A\n", ""] {
            assert!(made(&spec(&[], &[], vec![variable(name, "", false)])).is_err(), "{name:?}");
        }
        assert!(made(&spec(&["[\"sh\"]"], &[], Vec::new())).is_err());
    }
}
