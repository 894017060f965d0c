//! The examples that each help begins with: what people do most, as they would type it.

pub(super) const WHARF: &str = "\
Examples:
  wharf run -- npm run dev            port 3000 is free, whatever else runs
  wharf run -- psql -h localhost      joins what runs in this directory
  wharf ls                            every listening port of every space
  wharf wait .:3000 && npm test       once this project's server is there
  wharf why 3000                      whose a port is, and what to do
  wharf service 5432                  what a port is used for
  wharf stop                          ends this directory's space
";

pub(super) const RUN: &str = "\
Examples:
  wharf run -- npm run dev            in the space of this directory
  wharf run -s db -- postgres         in a space called db
  wharf run --from-host 5432 -- make  with the machine's port 5432 let in
  wharf run -d -- npm run dev         in the background
";

pub(super) const LS: &str = "\
Examples:
  wharf ls                            every listening port of every space
  wharf ls shop                       of one space
  wharf ls --host                     the machine's own
  wharf ls --watch                    a live table to work in
  wharf ls --json | jq .              for programs
";

pub(super) const WHY: &str = "\
Examples:
  wharf why 3000                      who has it, here and on the machine
  wharf why udp/53                    under one protocol only
  wharf why 127.0.0.1:3000            at one address
  wharf why shop:3000                 of the space shop; .:3000 of this directory's
  wharf why http://localhost:3000/    whatever was in the address bar
  wharf why 3000 --at 14:00           who had it then
";

pub(super) const STOP: &str = "\
Examples:
  wharf stop                          ends this directory's space
  wharf stop shop                     ends the space shop and what runs in it
  wharf stop --all                    ends every space of this user
  wharf stop 3000                     ends who listens at port 3000
  wharf stop shop:3000 --dry-run      says whom it would end
";

pub(super) const WAIT: &str = "\
Examples:
  wharf wait 5432                     in a space, of it; else of the machine
  wharf wait .:3000                   of this directory's space
  wharf wait shop:3000 --timeout 2m   of the space shop
  wharf wait 127.0.0.1:8080           where this address is reached
";

pub(super) const ASSERT: &str = "\
Examples:
  wharf assert 3000 --cwd . && npm test    not against another checkout's server
  wharf assert .:3000 --pid $!             the server that was just started
  wharf assert 8080 --space shop           only if the space shop answers there
";

pub(super) const FREE: &str = "\
Examples:
  wharf free                          a port that nobody has
  wharf free -n 2 8000-8999           two of these
  wharf free --hold -- ./server       started with a listening socket, as systemd does
";

pub(super) const EVENTS: &str = "\
Examples:
  wharf events                        from now on
  wharf events shop --since 2h        of the space shop, and the last two hours first
  wharf events --since 9:00 --no-follow --json | jq .
";

pub(super) const ENV: &str = "\
Examples:
  wharf env                           of this directory's space
  eval \"$(wharf env shop)\"            sets them in this shell
";

pub(super) const SERVICE: &str = "\
Examples:
  wharf service 5432                  what a port is used for
  wharf service postgres              which port a service has
  wharf service --common              the ports that everybody should know
";

pub(super) const DOCTOR: &str = "\
Examples:
  wharf doctor                        what is missing, and the remedy
  wharf doctor --apparmor | sudo tee /etc/apparmor.d/wharf
";

pub(super) const MCP: &str = "\
Examples:
  { \"mcpServers\": { \"wharf\": { \"command\": \"wharf\", \"args\": [\"mcp\"] } } }
";

pub(super) const COMPLETIONS: &str = "\
Examples:
  source <(wharf completions bash)
  wharf completions zsh > \"${fpath[1]}/_wharf\"
  wharf completions fish > ~/.config/fish/completions/wharf.fish
";

pub(super) const MAN: &str = "\
Examples:
  wharf man                           shows it
  wharf man > wharf.1                 writes it
";

pub(super) const PUBLISH: &str = "\
Examples:
  wharf publish 5432                  at the space's face, 127.77.x.y:5432
  wharf publish shop:8080:80          another space's port 80, at 8080
  wharf publish 3000.shop.localhost   by name, as every port
  wharf publish 127.0.0.1:3000+:3000  at the first free port from 3000 on
  wharf publish udp/53 --at ::1       a port of UDP, at an address
  wharf publish                       lists what is published
";

pub(super) const UNPUBLISH: &str = "\
Examples:
  wharf unpublish 5432                this directory's space
  wharf unpublish 127.0.0.1:3000      whatever is published there
  wharf unpublish --all               everything
";

pub(super) const FOCUS: &str = "\
Examples:
  wharf focus shop-b                  localhost's published ports lead to shop-b
  wharf focus                         says where they lead
  wharf focus --none                  to whoever published them first
";

pub(super) const URL: &str = "\
Examples:
  wharf url                           http://shop.localhost:7070
  curl $(wharf url 3000)              of several servers, the one at 3000
  wharf url --https                   https://shop.localhost:7443, after wharf trust
";

pub(super) const OPEN: &str = "\
Examples:
  wharf open                          this directory's web server
  wharf open 3000 -s shop             that at port 3000 of the space shop
";

pub(super) const WEB: &str = "\
Examples:
  wharf web                           opens the page in the browser
  wharf web --print                   prints its address, good for one use
";

pub(super) const CONNECT: &str = "\
Examples:
  wharf connect shop:6379             speaks to it from the terminal
  ssh -o ProxyCommand='wharf connect box:22' box
";

pub(super) const PS: &str = "\
Examples:
  wharf ps                            what runs in every space, and what has ended lately
  wharf ps shop --json | jq .         in one, for programs
";

pub(super) const LOGS: &str = "\
Examples:
  wharf logs                          of this directory's programs in the background
  wharf logs -f -n 20 shop            of the space shop: the last lines, and what follows
  wharf logs 4711                     of one program
";

pub(super) const CAPTURE: &str = "\
Examples:
  wharf capture shop                  a line for each frame of the space shop
  wharf capture . -w shop.pcapng      into a file, with the program's name on each flow
  wharf capture shop -c 10 tcp port 80 and not host 10.77.0.1
  wharf capture shop -w - | wireshark -k -i -
";

pub(super) const CI: &str = "\
Examples:
  wharf ci -- npm test                a space of its own, gone afterwards
  wharf ci --annotate auto -- make check
  wharf ci --json ports.json -- ./e2e.sh
";

pub(super) const SERVICE_INSTALL: &str = "\
Examples:
  wharf service-install               writes and enables a socket and a service of the user's
  wharf service-install --status      says how they are
  wharf service-install --uninstall   removes them
";

pub(super) const TRUST: &str = "\
Examples:
  wharf trust                         says what it will write, and asks
  wharf trust --dry-run               only says it
  wharf url --https                   https://shop.localhost:7443
";

pub(super) const UNTRUST: &str = "\
Examples:
  wharf untrust                       browsers forget it, and its key is gone
";
