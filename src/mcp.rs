//! `wharf mcp`: the same answers for coding agents, by the Model Context Protocol over standard input and output.
//!
//! Each tool is one command of this program, run with `--json` in the directory that the agent names; so an agent is told
//! exactly what a person is told, and what it may do is what a person could type. Nothing is decided here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitCode, Output, Stdio};

use anyhow::{Context, Result};
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, Implementation, ServerCapabilities, ServerConfig};
use rmcp::schemars::JsonSchema;
use rmcp::{ServerHandler, ServiceExt as _, tool, tool_handler, tool_router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use wharf_port::PortRange;

use crate::cli;

const INSTRUCTIONS: &str = "\
Whose the network ports of this machine are. Programs that are started with `wharf run -- CMD` have ports of their own, so two \
checkouts can both use port 3000. Ask `why` before you end anything that holds a port, `wait` instead of sleeping until a server is \
up, `space` for the address of this directory's servers. A port is typed as 3000 (the machine's), .:3000 (of the directory's space), \
shop:3000 (of the space shop) or udp/53.";

/// An agent that doesn't say how much of a log it wants gets so many lines.
const LOG_LINES: usize = 100;

/// Serves until standard input ends.
pub(crate) fn mcp(typed: &cli::Mcp) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let server = Server::new(typed.read_only);
    runtime.block_on(async {
        let serving = server.serve(rmcp::transport::stdio()).await;
        let serving = serving.context("the client does not speak the protocol")?;
        serving.waiting().await.context("the server ended")
    })?;
    // The thread that reads standard input can't be interrupted.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Clone)]
struct Server {
    tools: ToolRouter<Self>,
}

/// Which listeners.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct List {
    /// Only of this space.
    space: Option<String>,
    /// The machine's own instead of those of spaces.
    #[serde(default)]
    host: bool,
    /// The machine's and every space's.
    #[serde(default)]
    all: bool,
    /// Only UDP.
    #[serde(default)]
    udp: bool,
}

/// Which port.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Why {
    /// A port such as 3000, udp/53, 127.0.0.1:3000, .:3000 (of the directory's space) or shop:3000, or a URL.
    port: String,
    /// Whose it was in the spaces then: 14:00, or 2h for two hours ago.
    at: Option<String>,
    /// The project's directory; that of the server if not given.
    directory: Option<PathBuf>,
}

/// For what, and how long.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Wait {
    /// A port such as 3000 (the machine's), .:3000 (of the directory's space), shop:3000 or udp/53.
    port: String,
    /// How many seconds at most; 30 if not given.
    timeout_seconds: Option<u32>,
    /// The project's directory; that of the server if not given.
    directory: Option<PathBuf>,
}

/// How many ports, and among which.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Free {
    /// How many; 1 if not given.
    count: Option<u16>,
    /// Among these, such as 8000-8999.
    range: Option<String>,
    /// Of UDP.
    #[serde(default)]
    udp: bool,
}

/// Which space.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Space {
    /// Its name; that of the directory if not given.
    space: Option<String>,
    /// The project's directory; that of the server if not given.
    directory: Option<PathBuf>,
}

/// Whose programs.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Programs {
    /// Only of this space.
    space: Option<String>,
}

/// Whose log.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Logs {
    /// A space, or the process id of a program in the background; the directory's space if not given.
    what: Option<String>,
    /// How many of the last lines; 100 if not given.
    lines: Option<usize>,
    /// The project's directory; that of the server if not given.
    directory: Option<PathBuf>,
}

/// What to end.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Stop {
    /// A port such as 3000 or .:3000, to end who listens there, or the name of a space, to end it and what runs in it.
    what: String,
    /// Only say what would be ended.
    #[serde(default)]
    dry_run: bool,
    /// End who listens at the port even if it is another project's.
    #[serde(default)]
    force: bool,
    /// The project's directory; that of the server if not given.
    directory: Option<PathBuf>,
}

#[tool_router(router = routes)]
impl Server {
    fn new(read_only: bool) -> Self {
        let mut tools = Self::routes();
        if read_only {
            tools.remove_route("stop");
        }
        Self { tools }
    }

    /// List who listens on which ports: program, pid, directory, git branch, since when, how to reach it
    #[tool(annotations(read_only_hint = true))]
    async fn list(&self, Parameters(asked): Parameters<List>) -> CallToolResult {
        let flags = [
            ("--host", asked.host),
            ("--all", asked.all),
            ("--udp", asked.udp),
        ];
        let words = Words::of("ls").flag("--json", true).flags(&flags);
        words.then(asked.space).answer(None).await
    }

    /// Explain whose a port is, the whole story, and the ways out
    #[tool(annotations(read_only_hint = true))]
    async fn why(&self, Parameters(asked): Parameters<Why>) -> CallToolResult {
        let words = Words::of("why")
            .flag("--json", true)
            .option("--at", asked.at);
        words.then(Some(asked.port)).answer(asked.directory).await
    }

    /// Wait until somebody listens at a port
    #[tool(annotations(read_only_hint = true))]
    async fn wait(&self, Parameters(asked): Parameters<Wait>) -> CallToolResult {
        // For ever is too long for an agent.
        let timeout = asked
            .timeout_seconds
            .map(|seconds| seconds.max(1).to_string());
        let words = Words::of("wait")
            .flag("--json", true)
            .option("--timeout", timeout);
        words.then(Some(asked.port)).answer(asked.directory).await
    }

    /// Find ports that nobody has
    #[tool(annotations(read_only_hint = true))]
    async fn free(&self, Parameters(asked): Parameters<Free>) -> CallToolResult {
        let range = asked
            .range
            .as_deref()
            .map(str::parse::<PortRange>)
            .transpose();
        let Ok(range) = range else {
            return refused("range: a range of ports is wanted, such as 8000-8999");
        };
        let count = asked.count.map(|count| count.to_string());
        let words = Words::of("free").flags(&[("--json", true), ("--udp", asked.udp)]);
        let mut words = words.option("--count", count);
        words.0.extend(range.map(|range| range.to_string().into()));
        words.answer(None).await
    }

    /// Tell the space of a project: its name, addresses, and the URL of its web servers
    #[tool(annotations(read_only_hint = true))]
    async fn space(&self, Parameters(asked): Parameters<Space>) -> CallToolResult {
        let words = Words::of("env").flag("--json", true);
        words.then(asked.space).answer(asked.directory).await
    }

    /// List the programs that run in spaces, with what they do and where they listen, and those that ended lately, with their status
    #[tool(annotations(read_only_hint = true))]
    async fn programs(&self, Parameters(asked): Parameters<Programs>) -> CallToolResult {
        let words = Words::of("ps").flag("--json", true);
        words.then(asked.space).answer(None).await
    }

    /// Show what programs in the background (`wharf run -d`) have said last
    #[tool(annotations(read_only_hint = true))]
    async fn logs(&self, Parameters(asked): Parameters<Logs>) -> CallToolResult {
        let lines = asked.lines.unwrap_or(LOG_LINES).to_string();
        let words = Words::of("logs").option("--lines", Some(lines));
        words.then(asked.what).text(asked.directory).await
    }

    /// End who listens at a port, or a space and what runs in it
    #[tool(annotations(destructive_hint = true))]
    async fn stop(&self, Parameters(asked): Parameters<Stop>) -> CallToolResult {
        let words =
            Words::of("stop").flags(&[("--dry-run", asked.dry_run), ("--force", asked.force)]);
        words.then(Some(asked.what)).answer(asked.directory).await
    }
}

#[tool_handler(router = self.tools)]
impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("wharf", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }
}

/// A command line of this program.
#[derive(Debug)]
struct Words(Vec<OsString>);

impl Words {
    fn of(command: &str) -> Self {
        Self(vec![command.into()])
    }

    fn flag(self, name: &str, wanted: bool) -> Self {
        self.flags(&[(name, wanted)])
    }

    fn flags(mut self, flags: &[(&str, bool)]) -> Self {
        let wanted = flags.iter().filter(|(_, wanted)| *wanted);
        self.0.extend(wanted.map(|(name, _)| (*name).into()));
        self
    }

    /// The value can't be taken for an option of its own.
    fn option(mut self, name: &str, value: Option<String>) -> Self {
        self.0
            .extend(value.map(|value| format!("{name}={value}").into()));
        self
    }

    /// What is no option, whatever it looks like.
    fn then(mut self, word: Option<String>) -> Self {
        self.0.push("--".into());
        self.0.extend(word.map(OsString::from));
        self
    }

    /// Runs it, and answers with what it says. It is ended when the agent loses interest.
    async fn answer(self, directory: Option<PathBuf>) -> CallToolResult {
        let json = |said: &[u8]| serde_json::from_slice(said).unwrap_or_default();
        self.answer_as(directory, json).await
    }

    /// The same for what isn't JSON.
    async fn text(self, directory: Option<PathBuf>) -> CallToolResult {
        let text = |said: &[u8]| Value::from(String::from_utf8_lossy(said));
        self.answer_as(directory, text).await
    }

    async fn answer_as(
        self,
        directory: Option<PathBuf>,
        read: fn(&[u8]) -> Value,
    ) -> CallToolResult {
        let mut command = Command::new("/proc/self/exe");
        command.args(self.0).stdin(Stdio::null()).kill_on_drop(true);
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        match command.output().await {
            Ok(output) => result(&output, read),
            Err(error) => refused(&format!("cannot ask wharf: {error}")),
        }
    }
}

/// What a command said: its exit status, its answer if it has one, and its message to people.
fn result(output: &Output, read: fn(&[u8]) -> Value) -> CallToolResult {
    let answer = read(&output.stdout);
    let is_answered = output.status.success() || !answer.is_null();
    let said = json!({
        "status": output.status.code(),
        "answer": answer,
        "message": String::from_utf8_lossy(&output.stderr).trim(),
    });
    match is_answered {
        true => CallToolResult::structured(said),
        false => CallToolResult::structured_error(said),
    }
}

fn refused(message: &str) -> CallToolResult {
    CallToolResult::structured_error(json!({ "status": null, "answer": null, "message": message }))
}
