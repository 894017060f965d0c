//! `wharf mcp` gives coding agents the same answers, by the Model Context Protocol.

use serde_json::{Value, json};

use crate::harness::{Played, Process, World, await_that, free_port, scenes};

scenes![
    an_agent_asks_whose_a_port_is,
    an_agent_can_be_kept_from_ending_anything,
    an_agent_finds_its_way_about_a_space,
    an_agent_sees_what_runs_and_what_it_says,
    what_cannot_be_done_is_an_error_in_words,
];

/// An agent's conversation with the server.
struct Agent {
    server: Process,
    asked: u32,
}

impl Agent {
    fn greet(world: &World, words: &[&str]) -> Self {
        let server = world.wharf(["mcp"]).words(words).start();
        let mut agent = Self { server, asked: 0 };
        let hello = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": { "name": "scene", "version": "1" },
        });
        let greeted = agent.ask("initialize", hello);
        assert_eq!(greeted["serverInfo"]["name"], "wharf", "{greeted}");
        agent.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        agent
    }

    fn say(&mut self, message: &Value) {
        self.server.write(format!("{message}\n").as_bytes());
    }

    /// The result of one request.
    #[track_caller]
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let is_it = |line: &str| {
            let message: Value = serde_json::from_str(line).ok()?;
            (message["id"] == id).then_some(message)
        };
        let answer = self.server.line_that(is_it);
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].clone()
    }

    /// What a tool said, and whether that was an error.
    #[track_caller]
    fn call(&mut self, tool: &str, arguments: Value) -> (Value, bool) {
        let result = self.ask(
            "tools/call",
            json!({ "name": tool, "arguments": arguments }),
        );
        let text = result["content"][0]["text"].as_str().unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(text).unwrap(),
            result["structuredContent"]
        );
        (
            result["structuredContent"].clone(),
            result["isError"] == true,
        )
    }

    fn tools(&mut self) -> Vec<String> {
        let listed = self.ask("tools/list", json!({}));
        let tools = listed["tools"].as_array().unwrap().iter();
        let mut names: Vec<_> = tools
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Hangs up.
    fn leave(mut self) {
        self.server.close_input();
        self.server.outcome().ended_with(0);
    }
}

fn an_agent_asks_whose_a_port_is(world: &World) -> Played {
    let port = free_port().to_string();
    let mut agent = Agent::greet(world, &[]);
    let (free, is_error) = agent.call("why", json!({ "port": port }));
    assert_eq!(
        (&free["status"], &free["answer"]["verdict"], is_error),
        (&json!(1), &json!("free"), false)
    );
    let _server = world.peer(&["listen", "tcp", "127.0.0.1", &port]).start();
    let (waited, _) = agent.call("wait", json!({ "port": port, "timeout_seconds": 20 }));
    assert_eq!(waited["answer"]["listeners"][0]["port"].to_string(), port);
    let (held, _) = agent.call("why", json!({ "port": port }));
    assert_eq!(
        (&held["status"], &held["answer"]["verdict"]),
        (&json!(0), &json!("held"))
    );
    let (range, _) = agent.call("free", json!({ "range": port }));
    assert_eq!(range["status"], 1);
    let (several, _) = agent.call("free", json!({ "count": 3, "udp": true }));
    assert_eq!(several["answer"]["ports"].as_array().unwrap().len(), 3);
    agent.leave();
    Ok(())
}

fn an_agent_finds_its_way_about_a_space(world: &World) -> Played {
    let shop = world.project("shop");
    let directory = shop.path.to_str().unwrap();
    let mut agent = Agent::greet(world, &[]);
    assert_eq!(
        agent.tools(),
        [
            "free", "list", "logs", "programs", "space", "stop", "wait", "why"
        ]
    );
    let (none, is_error) = agent.call("space", json!({ "directory": directory }));
    assert!(
        is_error && none["message"].as_str().unwrap().contains("no space runs"),
        "{none}"
    );
    let server = shop.serve(&["listen", "tcp", "127.0.0.1", "3000"]);
    let (space, _) = agent.call("space", json!({ "directory": directory }));
    assert_eq!(space["answer"]["name"], "shop");
    let (list, _) = agent.call("list", json!({ "space": "shop" }));
    assert_eq!(
        list["answer"]["listeners"][0]["programs"][0]["directory"],
        directory
    );
    let port = json!({ "what": ".:3000", "directory": directory, "dry_run": true });
    let (told, _) = agent.call("stop", port);
    assert!(
        told["message"]
            .as_str()
            .unwrap()
            .contains("would end python3"),
        "{told}"
    );
    let (refused, is_error) = agent.call("stop", json!({ "what": "shop:3000" }));
    assert!(is_error && refused["status"] == 3, "{refused}");
    let (ended, is_error) = agent.call(
        "stop",
        json!({ "what": "shop:3000", "directory": directory }),
    );
    assert!(!is_error, "{ended}");
    server.outcome().ended_with(143);
    agent.leave();
    Ok(())
}

fn an_agent_sees_what_runs_and_what_it_says(world: &World) -> Played {
    let shop = world.project("shop");
    let directory = shop.path.to_str().unwrap();
    let script = "echo one; echo '{}'; exec sleep 1000";
    let pid = shop
        .wharf(["run", "-d", "-q", "--", "sh", "-c", script])
        .out();
    let mut agent = Agent::greet(world, &[]);
    let (said, _) = agent.call("programs", json!({ "space": "shop" }));
    let program = &said["answer"]["programs"][0];
    assert_eq!(
        (program["pid"].to_string(), &program["background"]),
        (pid.trim().to_owned(), &json!(true))
    );
    let asked = json!({ "directory": directory, "lines": 1 });
    let text = await_that("it has spoken", || {
        let (said, is_error) = agent.call("logs", asked.clone());
        assert!(!is_error, "{said}");
        Some(said["answer"].clone()).filter(|answer| *answer != "" && *answer != "one\n")
    });
    assert_eq!(text, "{}\n");
    agent.leave();
    Ok(())
}

fn an_agent_can_be_kept_from_ending_anything(world: &World) -> Played {
    let mut agent = Agent::greet(world, &["--read-only"]);
    assert_eq!(
        agent.tools(),
        ["free", "list", "logs", "programs", "space", "wait", "why"]
    );
    agent.leave();
    Ok(())
}

fn what_cannot_be_done_is_an_error_in_words(world: &World) -> Played {
    let mut agent = Agent::greet(world, &[]);
    for (tool, arguments, said) in [
        ("wait", json!({ "port": "http" }), "http is no port"),
        ("wait", json!({ "port": "--help" }), "there is no port in"),
        (
            "wait",
            json!({ "port": free_port().to_string(), "timeout_seconds": 1 }),
            "nothing listens at",
        ),
        (
            "free",
            json!({ "range": "--hold" }),
            "a range of ports is wanted",
        ),
        (
            "why",
            json!({ "port": "3000", "at": "noon" }),
            "a time is wanted",
        ),
        ("stop", json!({ "what": "--all" }), "space's name"),
        (
            "why",
            json!({ "port": "1", "directory": "/nowhere" }),
            "cannot ask wharf",
        ),
    ] {
        let (answer, is_error) = agent.call(tool, arguments);
        let message = answer["message"].as_str().unwrap();
        assert!(is_error && message.contains(said), "{tool}: {answer}");
    }
    agent.leave();
    Ok(())
}
