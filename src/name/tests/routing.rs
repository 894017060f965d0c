//! Names, ports, pages and headers.

use super::*;
use hyper::StatusCode;
use std::sync::Arc;

#[test]
fn two_spaces_answer_to_their_names() {
    town(async |town| {
        town.add("shop", 3000, says("shop").await);
        town.add("shop-b", 3000, says("shop-b").await);
        assert_eq!(
            text(town.get("shop.localhost:7070", "/").await).await,
            "shop"
        );
        assert_eq!(
            text(town.get("SHOP-B.localhost.", "/").await).await,
            "shop-b"
        );
        assert_eq!(
            text(town.get("tenant.shop.localhost", "/").await).await,
            "shop"
        );
    });
}

#[test]
fn a_number_in_front_of_the_name_is_a_port() {
    town(async |town| {
        town.add("shop", 3000, says("page").await);
        town.add("shop", 5432, says("other").await);
        assert_eq!(
            text(town.get("5432.shop.localhost", "/").await).await,
            "other"
        );
        assert_eq!(
            text(town.get("3000.shop.localhost", "/").await).await,
            "page"
        );
        let missing = town.get("3001.shop.localhost:7070", "/").await;
        assert_eq!(missing.status(), StatusCode::SERVICE_UNAVAILABLE);
        let page = text(missing).await;
        assert!(
            page.contains("Nothing listens on port 3001 of the space shop"),
            "{page}"
        );
        assert!(page.contains("http://3000.shop.localhost:7070/"), "{page}");
        let none = town.get("70000.shop.localhost", "/").await;
        assert_eq!(none.status(), StatusCode::NOT_FOUND);
    });
}

#[test]
fn of_several_listeners_the_one_with_a_page_answers_to_the_bare_name() {
    town(async |town| {
        let asked = Rc::new(Cell::new(0));
        let count = Rc::clone(&asked);
        let api = server(async move |_| {
            count.set(count.get() + 1);
            Response::new(full("{}"))
        });
        town.add("shop", 3000, api.await);
        town.add("shop", 4000, program(async |_stream| {}).await);
        town.add("shop", 5173, says("page").await);
        let database = program(async |_| panic!("a database is never asked"));
        town.add("shop", 5432, database.await);
        for _ in 0..3 {
            assert_eq!(text(town.get("shop.localhost", "/").await).await, "page");
        }
        assert_eq!(asked.get(), 1, "the answer is remembered");
    });
}

#[test]
fn when_several_have_a_page_the_person_chooses() {
    town(async |town| {
        town.add("shop", 3000, says("a").await);
        town.add("shop", 5173, says("b").await);
        let response = town.get("shop.localhost:7070", "/").await;
        assert_eq!(response.status(), StatusCode::MULTIPLE_CHOICES);
        let page = text(response).await;
        assert!(page.contains("http://3000.shop.localhost:7070/"), "{page}");
        assert!(page.contains("http://5173.shop.localhost:7070/"), "{page}");
        town.close("shop", 3000);
        assert_eq!(text(town.get("shop.localhost", "/").await).await, "b");
    });
}

#[test]
fn a_listener_that_keeps_silent_does_not_stand_in_the_way() {
    town(async |town| {
        let silent = program(async |mut stream| {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        town.add("shop", 4000, silent.await);
        town.add("shop", 5173, says("page").await);
        assert_eq!(text(town.get("shop.localhost", "/").await).await, "page");
    });
}

#[test]
fn a_server_that_was_still_starting_is_asked_again_later() {
    town(async |town| {
        let ready = Rc::new(Cell::new(false));
        let is_ready = Rc::clone(&ready);
        let starting = server(async move |_| {
            let status = if is_ready.get() { 200 } else { 503 };
            let response = Response::builder().status(status);
            let response = response.header("content-type", "text/html");
            response.body(full("ready")).unwrap()
        });
        town.add(
            "shop",
            3000,
            server(async |_| Response::new(full("{}"))).await,
        );
        town.add("shop", 5173, starting.await);
        let ask = async || town.get("shop.localhost", "/").await.status();
        assert_eq!(ask().await, StatusCode::MULTIPLE_CHOICES);
        ready.set(true);
        assert_eq!(
            ask().await,
            StatusCode::MULTIPLE_CHOICES,
            "not at every request"
        );
        tokio::time::pause();
        tokio::time::advance(super::super::route::ASK_AGAIN).await;
        tokio::time::resume();
        assert_eq!(ask().await, StatusCode::OK);
    });
}

#[test]
fn listeners_that_are_no_web_servers_are_listed() {
    town(async |town| {
        town.add("shop", 4000, program(async |_stream| {}).await);
        town.add("shop", 5432, program(async |_stream| {}).await);
        let response = town.get("shop.localhost", "/").await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert!(text(response).await.contains("http://4000.shop.localhost/"));
    });
}

#[test]
fn unknown_names_get_a_list_of_what_there_is() {
    town(async |town| {
        town.add("shop", 3000, says("shop").await);
        town.found("quiet");
        let response = town.get("shoop.localhost:7070", "/").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            response.headers()["content-type"],
            "text/plain; charset=utf-8"
        );
        let page = text(response).await;
        assert!(
            page.starts_with("There is no space called shoop\n"),
            "{page}"
        );
        assert!(page.contains("http://shop.localhost:7070/"), "{page}");
        assert!(page.contains("http://quiet.localhost:7070/"), "{page}");
    });
}

#[test]
fn wharf_itself_shows_what_there_is() {
    town(async |town| {
        let nothing = town.get("localhost", "/").await;
        assert_eq!(nothing.status(), StatusCode::OK);
        assert!(text(nothing).await.contains("wharf run -- COMMAND"));
        town.add("shop", 3000, says("shop").await);
        for host in ["localhost:7070", "127.0.0.1:7070", "[::1]:7070"] {
            let mut request = get(host, "/any/path");
            request
                .headers_mut()
                .insert("accept", "text/html".parse().unwrap());
            let response = town.client().await.send_request(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{host}");
            assert_eq!(
                response.headers()["content-type"],
                "text/html; charset=utf-8"
            );
            let page = text(response).await;
            assert!(
                page.contains("<a href=\"http://shop.localhost:7070/\">"),
                "{page}"
            );
        }
    });
}

#[test]
fn the_page_is_for_browsers_and_others_get_what_there_is_in_text() {
    town(async |town| {
        town.add("shop", 3000, says("shop").await);
        let mut request = get("wharf.localhost:7070", "/");
        let accept = "text/html,*/*;q=0.8".parse().unwrap();
        request.headers_mut().insert("accept", accept);
        let response = town.client().await.send_request(request).await.unwrap();
        assert_eq!(text(response).await, "the page of wharf.localhost:7070");
        let response = town.get("wharf.localhost", "/live").await;
        assert_eq!(text(response).await, "the page of wharf.localhost");
        let response = town.get("wharf.localhost:7070", "/").await;
        assert!(text(response).await.contains("http://shop.localhost:7070/"));
    });
}

#[test]
fn a_foreign_name_learns_nothing() {
    town(async |town| {
        town.add("shop", 3000, says("shop").await);
        let response = town.get("rebound.example.com:7070", "/").await;
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
        assert!(!text(response).await.contains("shop"));
    });
}

#[test]
fn a_space_where_nothing_listens_says_so() {
    town(async |town| {
        town.found("shop");
        let response = town.get("shop.localhost", "/").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(
            !response.headers().contains_key("refresh"),
            "no browser asked"
        );
        let page = text(response).await;
        assert!(page.contains("Nothing listens in the space shop"), "{page}");
        assert!(
            page.contains("/home/me/shop: wharf run -- COMMAND"),
            "{page}"
        );
    });
}

#[test]
fn a_page_in_a_browser_waits_for_the_program() {
    town(async |town| {
        town.found("shop");
        let ask = async || {
            let mut request = get("shop.localhost", "/cart");
            let html = "text/html,*/*;q=0.8".parse().unwrap();
            request.headers_mut().insert("accept", html);
            town.client().await.send_request(request).await.unwrap()
        };
        let waits = ask().await;
        assert_eq!(waits.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(waits.headers()["refresh"], "1");
        assert!(text(waits).await.contains("loads itself again"));
        town.add("shop", 3000, says("of the shop").await);
        let there = ask().await;
        assert!(!there.headers().contains_key("refresh"));
        assert_eq!(text(there).await, "of the shop");
    });
}

#[test]
fn a_listener_that_refuses_is_explained() {
    town(async |town| {
        let vanished = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        town.add("shop", 3000, vanished);
        let response = town.get("shop.localhost", "/").await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let page = text(response).await;
        assert!(
            page.contains("Port 3000 of the space shop can't be reached"),
            "{page}"
        );
        assert!(page.contains("Connection refused"), "{page}");
    });
}

#[test]
fn the_server_sees_the_clients_host_and_true_origin() {
    town(async |town| {
        let echo = server(async |request| {
            let mut lines: Vec<String> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            lines.sort();
            lines.insert(0, format!("{} {}", request.method(), request.uri()));
            Response::new(full(lines.join("\n")))
        });
        town.add("shop", 3000, echo.await);
        let request = Request::get("/a?b=c")
            .header("host", "Shop.localhost:7070")
            .header("x-forwarded-for", "6.6.6.6")
            .header("x-real-ip", "6.6.6.6")
            .header("x-forwarded-proto", "https")
            .header("forwarded", "for=6.6.6.6")
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("x-end", "2")
            .body(empty())
            .unwrap();
        let response = town.client().await.send_request(request).await.unwrap();
        assert_eq!(
            text(response).await,
            "GET /a?b=c\n\
             forwarded: for=127.0.0.1;host=\"Shop.localhost:7070\";proto=http\n\
             host: Shop.localhost:7070\n\
             via: 1.1 wharf\n\
             x-end: 2\n\
             x-forwarded-for: 127.0.0.1\n\
             x-forwarded-host: Shop.localhost:7070\n\
             x-forwarded-proto: http\n\
             x-real-ip: 127.0.0.1"
        );
    });
}

#[test]
fn header_names_keep_their_case_both_ways() {
    town(async |town| {
        let picky = program(async |mut stream| {
            let head = head(&mut stream).await;
            assert!(head.contains("\r\nX-MiXed: 1\r\n"), "{head}");
            let answer = "HTTP/1.1 200 OK\r\nX-OtheR: 1\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        town.add("shop", 80, picky.await);
        let request =
            "GET / HTTP/1.1\r\nHost: shop.localhost\r\nX-MiXed: 1\r\nConnection: close\r\n\r\n";
        let answer = town.raw(request).await;
        assert!(answer.contains("\r\nX-OtheR: 1\r\n"), "{answer}");
    });
}

#[test]
fn targets_of_every_form_arrive() {
    town(async |town| {
        let echo = server(async |request| {
            let host = request.headers()["host"].to_str().unwrap();
            Response::new(full(format!(
                "{} {} at {host}",
                request.method(),
                request.uri()
            )))
        });
        town.add("shop", 80, echo.await);
        let end = "Host: shop.localhost\r\nConnection: close\r\n\r\n";
        let answer = town.raw(&format!("OPTIONS * HTTP/1.1\r\n{end}")).await;
        assert!(answer.ends_with("OPTIONS * at shop.localhost"), "{answer}");
        let absolute = "GET http://80.shop.localhost/x HTTP/1.1\r\nHost: other.localhost\r\n";
        let answer = town
            .raw(&format!("{absolute}Connection: close\r\n\r\n"))
            .await;
        assert!(answer.ends_with("GET /x at 80.shop.localhost"), "{answer}");
        let answer = town
            .raw(&format!("CONNECT shop.localhost:80 HTTP/1.1\r\n{end}"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
    });
}

#[test]
fn an_old_client_without_a_host_gets_the_list() {
    town(async |town| {
        town.add("shop", 3000, says("shop").await);
        let answer = town.raw("GET / HTTP/1.0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
        assert!(answer.contains("http://shop.localhost/"), "{answer}");
        let named = town
            .raw("GET / HTTP/1.0\r\nHost: shop.localhost\r\n\r\n")
            .await;
        assert!(named.ends_with("\r\n\r\nshop"), "{named}");
    });
}

#[test]
fn a_circle_is_broken() {
    town(async |town| {
        let address = town.address;
        town.add("mirror", 80, address);
        let response = town.get("mirror.localhost", "/").await;
        assert_eq!(response.status(), StatusCode::LOOP_DETECTED);
    });
}

#[test]
fn a_client_past_the_limit_waits_until_another_leaves() {
    town(async |town| {
        town.add("shop", 3000, says("shop").await);
        let clients = Arc::clone(&town.front.clients);
        let all = clients
            .acquire_many(super::super::CLIENTS_MAX as u32 - 1)
            .await
            .unwrap();
        // Its accept already holds the last place, so this client takes it and the next waits.
        let mut first = town.client().await;
        let response = first
            .send_request(get("shop.localhost", "/"))
            .await
            .unwrap();
        assert_eq!(text(response).await, "shop");
        let mut second = town.client().await;
        let mut waiting = std::pin::pin!(second.send_request(get("shop.localhost", "/")));
        let late = tokio::time::timeout(Duration::from_millis(100), &mut waiting);
        assert!(late.await.is_err(), "there is no place for it");
        drop(first);
        assert_eq!(text(waiting.await.unwrap()).await, "shop");
        drop(all);
    });
}
