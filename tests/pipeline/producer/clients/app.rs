//! An app: a program that enqueues through one of the clients.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use tokio::{io::AsyncWriteExt, process::Command, task::JoinHandle};

use super::super::door::TOKEN;

/// A language that there is a client in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Language {
    Python,
    Node,
    Ruby,
    Php,
}

impl Language {
    fn runtime(self) -> &'static str {
        match self {
            Self::Python => "python3",
            Self::Node => "node",
            Self::Ruby => "ruby",
            Self::Php => "php",
        }
    }

    /// Whether it can be run here. What cannot is said, where whoever reads the test's output sees it: then nothing was shown.
    pub(super) async fn is_at_hand(self) -> bool {
        let found =
            Command::new(self.runtime()).arg("--version").output().await.is_ok_and(|said| said.status.success());
        if !found {
            eprintln!("NOT TESTED: {} is missing, so nothing is known of {}", self.runtime(), self.file().display());
        }
        found
    }

    fn file(self) -> PathBuf {
        let name = match self {
            Self::Python => "latchhook.py",
            Self::Node => "latchhook.mjs",
            Self::Ruby => "latchhook.rb",
            Self::Php => "latchhook.php",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/clients").join(name).canonicalize().unwrap()
    }

    /// A program that enqueues one body, twice under the same key.
    fn twice(self, url: &str, body: &str) -> Vec<String> {
        let (file, dir) = (self.file(), self.file().parent().unwrap().display().to_string());
        let file = file.display();
        let (flags, program): (&[&str], String) = match self {
            Self::Python => (
                &["-B", "-c"],
                format!(
                    "import os, sys; sys.path.insert(0, '{dir}'); import latchhook\n\
                 client = latchhook.Client('{url}', 'wa', os.environ['LATCHHOOK_TOKEN'])\n\
                 for _ in range(2): print(client.enqueue('{body}', key='k'))"
                ),
            ),
            Self::Node => (
                &["--input-type=module", "-e"],
                format!(
                    "import {{ Client }} from '{file}';\n\
                 const client = new Client('{url}', 'wa', process.env.LATCHHOOK_TOKEN);\n\
                 for (let i = 0; i < 2; i++) console.log(await client.enqueue('{body}', {{ key: 'k' }}));"
                ),
            ),
            Self::Ruby => (
                &["-e"],
                format!(
                    "require '{file}'; client = Latchhook::Client.new('{url}', 'wa', ENV.fetch('LATCHHOOK_TOKEN'))\n\
                 2.times {{ puts client.enqueue('{body}', key: 'k') }}"
                ),
            ),
            Self::Php => (
                &["-r"],
                format!(
                    "require '{file}'; $client = new Latchhook\\Client('{url}', 'wa', getenv('LATCHHOOK_TOKEN'));\n\
                 for ($i = 0; $i < 2; $i++) echo $client->enqueue('{body}', key: 'k'), \"\\n\";"
                ),
            ),
        };
        flags.iter().map(|flag| (*flag).to_owned()).chain([program]).collect()
    }

    /// A program that enqueues a body under the key `k`, waits a second for it, and prints the key that it is told instead.
    fn hasty(self, url: &str) -> Vec<String> {
        let (file, dir) = (self.file(), self.file().parent().unwrap().display().to_string());
        let file = file.display();
        let (flags, program): (&[&str], String) = match self {
            Self::Python => (
                &["-B", "-c"],
                format!(
                    "import sys; sys.path.insert(0, '{dir}'); import latchhook\n\
                     try: latchhook.Client('{url}', 'wa', 't', timeout=1, patience=0).enqueue('1', key='k')\n\
                     except latchhook.NotEnqueued as error: print(error.key)"
                ),
            ),
            Self::Node => (
                &["--input-type=module", "-e"],
                format!(
                    "import {{ Client }} from '{file}';\n\
                     const client = new Client('{url}', 'wa', 't', {{ timeout: 1, patience: 0 }});\n\
                     await client.enqueue('1', {{ key: 'k' }}).catch((error) => console.log(error.key));"
                ),
            ),
            Self::Ruby => (
                &["-e"],
                format!(
                    "require '{file}'; client = Latchhook::Client.new('{url}', 'wa', 't', timeout: 1, patience: 0)\n\
                     begin client.enqueue('1', key: 'k'); rescue Latchhook::NotEnqueued => e; puts e.key; end"
                ),
            ),
            Self::Php => (
                &["-r"],
                format!(
                    "require '{file}'; $client = new Latchhook\\Client('{url}', 'wa', 't', timeout: 1, patience: 0);\n\
                     try {{ $client->enqueue('1', key: 'k'); }} catch (Latchhook\\NotEnqueued $e) {{ echo $e->key; }}"
                ),
            ),
        };
        flags.iter().map(|flag| (*flag).to_owned()).chain([program]).collect()
    }
}

/// What an app printed, and how it ended.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) ids: Vec<String>,
    pub(super) errors: String,
    pub(super) succeeded: bool,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let out = String::from_utf8(output.stdout).unwrap();
        Self {
            ids: out.lines().map(str::to_owned).collect(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
            succeeded: output.status.success(),
        }
    }
}

/// Starts the client itself, which enqueues each line of its input.
pub(super) fn enqueues(language: Language, address: SocketAddr, bodies: &[&[u8]]) -> JoinHandle<Said> {
    let mut command = Command::new(language.runtime());
    command.arg(language.file()).arg(format!("http://{address}")).arg("wa");
    start(command, bodies.iter().flat_map(|body| [*body, b"\n"].concat()).collect())
}

/// Starts a program that waits a second for one answer, and prints the key of what is not enqueued.
pub(super) fn enqueues_hastily(language: Language, address: SocketAddr) -> JoinHandle<Said> {
    let mut command = Command::new(language.runtime());
    command.args(language.hasty(&format!("http://{address}")));
    start(command, Vec::new())
}

/// Starts a program that enqueues a body twice under one key.
pub(super) fn enqueues_twice(language: Language, address: SocketAddr, body: &str) -> JoinHandle<Said> {
    let mut command = Command::new(language.runtime());
    command.args(language.twice(&format!("http://{address}"), body));
    start(command, Vec::new())
}

fn start(mut command: Command, input: Vec<u8>) -> JoinHandle<Said> {
    command.env("LATCHHOOK_TOKEN", TOKEN).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    tokio::spawn(async move {
        child.stdin.take().unwrap().write_all(&input).await.unwrap();
        child.wait_with_output().await.unwrap().into()
    })
}
