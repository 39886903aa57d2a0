package main

import "github.com/kms-enclave/kms-enclave/release"

const mainHelp = `Browser KMS Enclave: keys that live in the user's browser, out of the app's reach.

usage: enclave COMMAND [FLAGS]

  demo          build everything, serve a demo app and its enclave, print the address
  serve         build the enclave and serve its origin, as in production
  build         build the enclave into a directory, for a web server of your own
  withdraw      take an old release out of such a directory
  verify        compare what a host serves with its manifest, and with a build of your own
  doctor        say what is wrong with the way an app embeds an enclave
  relay         send push messages for apps that are closed
  audit verify  check an exported audit log, offline
  version       say which version this is, and which toolchain builds the enclave
  help COMMAND  say more about one of them

demo, serve, build and verify --rebuild work in a checkout of the source. They need Go 1.21 or
later, which fetches the pinned toolchain (` + release.Toolchain + `) and the modules the first time.

Exit codes: 0 done, or stopped by Ctrl-C; 1 failed; 2 called wrongly; 3 (verify, doctor,
audit) it could not be found out.
`

const buildHelp = `usage: enclave build --out DIR --frame-ancestors ORIGIN [--frame-ancestors ORIGIN ...] [--origin URL]
                     [--version V] [--commit C] [--previous MANIFEST] [--compress=false]

Builds the enclave from this checkout, and writes

  DIR/r/<hex>/kms.html, <hex>.js, <hex>.wasm    the release; serve it under the same path
  DIR/r/<hex>/sbom.cdx.json                     what it is made of (CycloneDX)
  DIR/r/<hex>/manifest.json                     hashes, pin, and the headers to serve it with
  DIR/r/<hex>/*.br, *.gz                        the same files, compressed, for web servers
  DIR/manifest.json                             that of the newest release
  DIR/_headers, nginx.conf, Caddyfile, 404.html configuration for web servers

Releases that are already in DIR stay, so that apps which pin them keep working; enclave withdraw
removes one. Prints what an app pins, and what changes for an app that pins the release before.

  --out DIR                 where to write; made if it does not exist
  --frame-ancestors ORIGIN  who may embed, for the headers; give it once per origin (default: nobody)
  --origin URL              the public origin of the deployment, for the headers. With it the frame
                            may reach one URL of its host instead of all
  --version V               semantic version of the release, such as 1.2.3 (default: dev)
  --commit C                40 hex digits (default: HEAD if the checkout is clean, else unknown)
  --previous MANIFEST       what to compare with (default: DIR/manifest.json as it was)
  --compress=false          leave the compressed forms out; Brotli takes ten seconds

Version and commit are part of the measurement: a rebuild must give the same ones.
`

const withdrawHelp = `usage: enclave withdraw --dir DIR RELEASE

Removes a release from a directory that enclave build wrote, and from the configuration for web
servers in it. From then on apps that pin it do not start. Withdraw releases with a known hole:
storage is as safe as the worst release still served, or cached, on its origin.

  --dir DIR    the directory
  RELEASE      32 hex digits, the release's name in DIR/r, or its measurement
`

const verifyHelp = `usage: enclave verify URL|DIR [--rebuild SOURCE] [--measurement HEX] [--timeout T] [--json]

Compares every file, size, hash and header of a release with its manifest, and says what that
proves and what it does not.

  URL    https://HOST/r/<hex>/kms.html, as an app embeds it, or https://HOST for its newest release.
         Every file is asked for plainly, as the frame asks in three browsers, and as the SDK asks:
         a host can tell an audit from a launch.
  DIR    a directory that enclave build wrote; works offline. Every release in it is compared.

  --rebuild SOURCE   build the release from this checkout, too, and compare byte for byte. Check out
                     the release's commit first
  --measurement HEX  the 96 hex digits that the release must have, spaces allowed, as the app shows them
  --timeout T        for everything that is asked of the host (default: 1m)
  --json             print one line of JSON, {"version":1,...}, instead of text

Exit codes: 0 verified; 1 something differs: the first difference is printed; 2 called wrongly;
3 it could not be found out (unreachable, too slow, a manifest of a newer form, a failed build).
`

const doctorHelp = `usage: enclave doctor APP-URL [--enclave URL] [--timeout T] [--json]

Looks at an app from outside and says in words what is wrong with the way it embeds an enclave: its
Content-Security-Policy, its pin, its other frames, its SDK, its domain, and what the enclave's host
serves. It reads the page and the modules that the page names, and executes nothing.

  --enclave URL  the release's page, if the app learns it at run time only
  --timeout T    for everything that is read (default: 1m)
  --json         print one line of JSON, {"version":1,...}, instead of text

Exit codes: 0 nothing is wrong (there may be warnings); 1 errors were found; 2 called wrongly;
3 the app could not be looked at.
`

const serveHelp = `usage: enclave serve --frame-ancestors ORIGIN [--frame-ancestors ORIGIN ...] [--addr HOST:PORT] [--origin URL] [--json]
       enclave serve --dir DIR [--addr HOST:PORT] [--json]

Builds the enclave from this checkout, or takes the releases of a directory that enclave build wrote,
and serves its origin with production headers, until Ctrl-C.

  --addr HOST:PORT          where to listen (default: localhost:8444). localhost, 127.0.0.1 or no host
                            means 127.0.0.1 and ::1; port 0 picks a free one
  --frame-ancestors ORIGIN  an app that may embed, for instance http://127.0.0.1:8080; give it once per
                            app. https://*.app.example stands for its subdomains
  --origin URL              the public origin, if a proxy stands in front, for instance https://kms.example
  --dir DIR                 serve these releases, with the headers in their manifests
  --json                    print one line when ready, and nothing else:
                            {"url":...,"pin":{"policy":...,"wasm":...},"measurement":...}
  --version V, --commit C   as of enclave build

Without --origin this is for development: browsers accept http for localhost only.
`

const demoHelp = `usage: enclave demo [--addr HOST:PORT] [--enclave-addr HOST:PORT] [--relay-addrs HOST:PORT,HOST:PORT]
                    [--data DIR]

Builds the enclave from this checkout, serves it on one site (http://localhost) and an app that
embeds it on another (http://127.0.0.1), and prints the app's address. Two relays run beside them, which
the user may allow to send notifications. Ends with Ctrl-C.

  --addr HOST:PORT          where the app listens (default: 127.0.0.1:8443)
  --enclave-addr HOST:PORT  where the enclave listens (default: localhost:8444)
  --relay-addrs HOST:PORT,HOST:PORT
                            where the relays listen (default: localhost:8445,localhost:8446); "" for
                            none. The demo works without them if they cannot start
  --data DIR                what the relays keep; made if it does not exist. Without it they forget
                            everything with the end of the demo

For tests, as --services and --ca of enclave relay; the services are known beside the vendors':

  --push-services HOST,...  push services that messages may go to
  --push-ca F               PEM; certificates that they may have beside the system's

Keys that you create stay in your browser, for this address; fixed ports keep them reachable.
`

const versionHelp = `usage: enclave version

Says which version this is, and which toolchain builds the enclave.
`

// help is what --help prints, by command. The text for audit is its own.
var help = map[string]string{
	"": mainHelp, "build": buildHelp, "withdraw": withdrawHelp, "verify": verifyHelp, "doctor": doctorHelp, "relay": relayHelp, "serve": serveHelp, "demo": demoHelp, "version": versionHelp, "help": mainHelp,
}

func runHelp(u *ui, args []string) error {
	topic := ""
	if len(args) > 0 {
		topic = args[0]
	}
	if topic == "audit" {
		runAudit([]string{"--help"}, nil, u.stdout, u.stderr)
		return nil
	}
	text, ok := help[topic]
	if !ok {
		return usageErrorf("help: got %q, wanted demo, serve, build, withdraw, verify, doctor, relay, audit or version", topic)
	}
	u.print("%s", text)
	return nil
}
