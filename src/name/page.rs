//! The front's own pages: small, without scripts or anything from elsewhere, as HTML or as plain
//! text.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, LOCATION, REFRESH,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::HeaderValue;
use hyper::{Response, StatusCode};

/// What is said to a person who asked for something that no program answers.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) title: String,
    /// What, why, and what to do.
    pub(super) paragraphs: Vec<String>,
    /// Where to go from here.
    pub(super) links: Vec<Link>,
    /// The address that the client is sent on to.
    pub(super) towards: Option<HeaderValue>,
    /// Seconds after which to ask again: what isn't there may come. Browsers do so by themselves.
    pub(super) again: Option<u8>,
}

/// A way on: an address and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) url: String,
    pub(super) note: String,
}

/// In which form a client wants to read a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For browsers.
    Html,
    /// For all that doesn't ask for HTML, such as curl.
    Text,
}

/// How often a page that waits is loaded again, in seconds.
const AGAIN: u8 = 1;

const STYLE: &str = ":root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;max-width:44rem;padding:2rem 1rem}\
h1{font-size:1.4rem}\
ul{list-style:none;padding:0}\
li{padding:.4rem 0;overflow-wrap:anywhere}\
span{opacity:.75;padding-left:.75rem}";

impl Form {
    /// The form that `Accept` asks for: HTML only if it is named.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let html = headers.get_all(ACCEPT).iter().any(|value| {
            let value = value.to_str().unwrap_or_default();
            value.to_ascii_lowercase().contains("text/html")
        });
        if html { Self::Html } else { Self::Text }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
        })
    }
}

impl Page {
    /// A page without links.
    pub(super) fn new(status: StatusCode, title: impl Into<String>) -> Self {
        Self {
            status,
            title: title.into(),
            paragraphs: Vec::new(),
            links: Vec::new(),
            towards: None,
            again: None,
        }
    }

    /// The page, which waits for what it is about.
    pub(super) fn waits(mut self) -> Self {
        self.again = Some(AGAIN);
        self
    }

    /// The page, with the address that a redirection is to.
    pub(super) fn towards(mut self, url: &str) -> Self {
        self.towards = HeaderValue::from_str(url).ok();
        self.say(format!("It is found at {url}"))
    }

    /// The page with one more paragraph.
    pub(super) fn say(mut self, paragraph: impl Into<String>) -> Self {
        self.paragraphs.push(paragraph.into());
        self
    }

    /// The page with these links.
    pub(super) fn link(mut self, links: Vec<Link>) -> Self {
        self.links = links;
        self
    }

    /// The page as a response. It is never stored, and may load and run nothing.
    pub(super) fn respond(&self, form: Form) -> Response<Full<Bytes>> {
        let text = match form {
            Form::Html => self.html(),
            Form::Text => self.text(),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, form.content_type());
        headers.insert(VARY, HeaderValue::from_static("accept"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
            ),
        );
        if let Some(towards) = &self.towards {
            headers.insert(LOCATION, towards.clone());
        }
        if let Some(seconds) = self.again {
            headers.insert(RETRY_AFTER, u16::from(seconds).into());
            if form == Form::Html {
                headers.insert(REFRESH, u16::from(seconds).into());
            }
        }
        response
    }

    fn html(&self) -> String {
        let title = escape(&self.title);
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n<main>\n<h1>{title}</h1>\n"
        );
        for paragraph in &self.paragraphs {
            html += &format!("<p>{}</p>\n", escape(paragraph));
        }
        if self.again.is_some() {
            html += "<p>This page loads itself again until it is there.</p>\n";
        }
        if !self.links.is_empty() {
            html += "<ul>\n";
            for Link { url, note } in &self.links {
                let (url, note) = (escape(url), escape(note));
                html += &format!("<li><a href=\"{url}\">{url}</a><span>{note}</span></li>\n");
            }
            html += "</ul>\n";
        }
        html + "</main>\n</html>\n"
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", line(&self.title));
        for paragraph in &self.paragraphs {
            text += &format!("{}\n", line(paragraph));
        }
        let width = self.links.iter().map(|link| link.url.len()).max();
        for Link { url, note } in &self.links {
            let padded = format!("  {url:width$}  {}", line(note), width = width.unwrap_or(0));
            text += padded.trim_end();
            text.push('\n');
        }
        text
    }
}

/// Text that is safe in HTML, also between quotation marks.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Text that is safe on a terminal: names of programs and directories may hold anything.
fn line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page::new(StatusCode::NOT_FOUND, "No space <x>")
            .say("Say \"why\" & what.\u{1b}[31m")
            .link(vec![Link {
                url: "http://a.localhost:7070/?a&b".into(),
                note: "/home/it's".into(),
            }])
    }

    #[test]
    fn html_is_escaped() {
        let html = page().html();
        assert!(html.contains("<h1>No space &lt;x&gt;</h1>"), "{html}");
        assert!(
            html.contains("<p>Say &quot;why&quot; &amp; what."),
            "{html}"
        );
        assert!(
            html.contains("href=\"http://a.localhost:7070/?a&amp;b\""),
            "{html}"
        );
        assert!(html.contains("/home/it&#39;s"), "{html}");
    }

    #[test]
    fn text_is_safe_on_a_terminal() {
        assert_eq!(
            page().text(),
            "No space <x>\nSay \"why\" & what.\u{fffd}[31m\n  http://a.localhost:7070/?a&b  /home/it's\n"
        );
    }

    #[test]
    fn browsers_get_html_and_others_text() {
        let mut headers = HeaderMap::new();
        assert_eq!(Form::of(&headers), Form::Text);
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        assert_eq!(Form::of(&headers), Form::Text);
        let browser = "text/HTML,application/xhtml+xml,*/*;q=0.8";
        headers.insert(ACCEPT, HeaderValue::from_static(browser));
        assert_eq!(Form::of(&headers), Form::Html);
    }
}
