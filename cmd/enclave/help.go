package main

import "github.com/kms-enclave/kms-enclave/release"

const mainHelp = `Browser KMS Enclave: keys that live in the user's browser, out of the app's reach.

usage: enclave COMMAND [FLAGS]

  demo          build everything, serve a demo app and its enclave, print the address
  serve         build the enclave and serve its origin, as in production
  build         build the enclave into a directory, for a web server of your own
  audit verify  check an exported audit log, offline
  version       say which version this is, and which toolchain builds the enclave
  help COMMAND  say more about one of them

demo, serve and build work in a checkout of the source, in any of its directories.
They need Go 1.21 or later, which fetches the pinned toolchain (` + release.Toolchain + `) by itself.

Exit codes: 0 done, or stopped by Ctrl-C; 1 failed; 2 called wrongly.
`

const buildHelp = `usage: enclave build --out DIR [--version V] [--commit C] [--frame-ancestors ORIGIN ...] [--origin URL]

Builds the enclave from this checkout, and writes

  DIR/r/<hex>/kms.html, <hex>.js, <hex>.wasm    the release; serve it under the same path
  DIR/manifest.json                             hashes, pin, and the headers to serve it with

Releases that are already in DIR stay, so that apps which pin them keep working.
Prints what an app pins.

  --out DIR                 where to write; made if it does not exist
  --version V               semantic version of the release (default: dev)
  --commit C                40 hex digits (default: HEAD if the checkout is clean, else unknown)
  --frame-ancestors ORIGIN  who may embed, for the headers in the manifest; give it once per origin
                            (default: nobody)
  --origin URL              the public origin of the deployment, for the headers in the manifest

Version and commit are part of the measurement: a rebuild must give the same ones.
`

const serveHelp = `usage: enclave serve --addr HOST:PORT --frame-ancestors ORIGIN [--frame-ancestors ORIGIN ...] [--origin URL] [--json]

Builds the enclave from this checkout and serves its origin with production headers, until Ctrl-C.

  --addr HOST:PORT          where to listen (default: localhost:8444). localhost, 127.0.0.1 or no host
                            means 127.0.0.1 and ::1; port 0 picks a free one
  --frame-ancestors ORIGIN  an app that may embed, for instance http://127.0.0.1:8080; give it once per
                            app. https://*.app.example stands for its subdomains
  --origin URL              the public origin, if a proxy stands in front, for instance https://kms.example
  --json                    print one line when ready, and nothing else:
                            {"url":...,"pin":{"policy":...,"wasm":...},"measurement":...}
  --version V, --commit C   as of enclave build

Without --origin this is for development: browsers accept http for localhost only.
`

const demoHelp = `usage: enclave demo [--addr HOST:PORT] [--enclave-addr HOST:PORT]

Builds the enclave from this checkout, serves it on one site (http://localhost) and an app that
embeds it on another (http://127.0.0.1), and prints the app's address. Ends with Ctrl-C.

  --addr HOST:PORT          where the app listens (default: 127.0.0.1:8443)
  --enclave-addr HOST:PORT  where the enclave listens (default: localhost:8444)

Keys that you create stay in your browser, for this address; fixed ports keep them reachable.
`

const versionHelp = `usage: enclave version

Says which version this is, and which toolchain builds the enclave.
`

// help is what --help prints, by command. The text for audit is its own.
var help = map[string]string{
	"": mainHelp, "build": buildHelp, "serve": serveHelp, "demo": demoHelp, "version": versionHelp, "help": mainHelp,
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
		return usageErrorf("help: got %q, wanted build, serve, demo, audit or version", topic)
	}
	u.print("%s", text)
	return nil
}
