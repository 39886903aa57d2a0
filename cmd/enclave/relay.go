package main

import (
	"context"
	"encoding/json/jsontext"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/kms-enclave/kms-enclave/relay"
)

const relayHelp = `usage: enclave relay --origin URL --data DIR [FLAGS]
       enclave relay --origin URL --nats URL,... [FLAGS]
       enclave relay check [FLAGS]

Sends push messages for apps that are closed. It holds no key: apps bring tokens, which their users'
enclaves have signed, and take them away again. Everything is in one NATS JetStream stream,
embedded and under DIR, or in a cluster; an answer 202 means that a message is on disk. Runs until SIGTERM
or Ctrl-C, and then lets what is in flight end.

  --origin URL           what clients call this relay, for instance https://relay.example: tokens must be
                         made out to it
  --addr HOST:PORT       where to listen (default: localhost:8445); port 0 picks a free one
  --data DIR             where the embedded storage is; made if it does not exist
  --nats URL,...         a cluster of NATS 2.12 or later with JetStream, instead
  --nats-credentials F   user credentials for it
  --stream NAME          the stream (default: KMS_RELAY), if several relays share a cluster
  --replicas N           of the stream, in a cluster: 3 survives the loss of one node (default: 1)
  --max-store SIZE       how large the stream may become (default: 8G); at nine tenths messages are
                         answered with 507
  --tls-certificate F    PEM; without it a proxy in front has to speak TLS
  --tls-key F            PEM
  --trusted-proxies P,.. addresses, or prefixes, whose X-Forwarded-For says who a client is
  --services HOST,...    push services that messages may go to, instead of Google's, Mozilla's, Apple's
                         and Microsoft's; *.HOST is everything below, private:HOST one that may have a
                         private address
  --ca F                 PEM; certificates that push services may have beside the system's
  --attempt-time T       how long a push service may take (default: 20s)
  --drain-time T         what is in flight gets so long to end (default: 10s)
  --log text|json        how to log, on stderr (default: text)
  --config FILE          JSON with all this, and the limits. Every flag above is also a variable such as
                         KMS_RELAY_MAX_STORE; a flag wins over a variable, and that over the file
  --check                like check: say what is wrong, or print what is in effect, and end
  --json                 print one line when ready, {"url":...,"origin":...}, and nothing else

enclave relay check --config FILE opens no storage and no port. docs/relay.md is the operator's guide.
`

func runRelay(ctx context.Context, u *ui, args []string) error {
	only := len(args) > 0 && args[0] == "check"
	if only {
		args = args[1:]
	}
	f := u.flags("relay")
	file := f.String("config", "", "")
	check := f.Bool("check", only, "")
	asJSON := f.Bool("json", false, "")
	given := map[string]*string{}
	for _, s := range relay.Settings {
		given[s.Name] = f.String(s.Name, "", "")
	}
	if err := u.parse(f, args); err != nil {
		return err
	}
	kept := map[string]*string{} // an empty value is one: it takes away what a variable or the file says
	f.Visit(func(flag *flag.Flag) {
		if value := given[flag.Name]; value != nil {
			kept[flag.Name] = value
		}
	})
	given = kept
	config, err := relayConfig(*file, given, os.LookupEnv)
	if err != nil {
		return err
	}
	if *check {
		return u.printConfig(&config)
	}
	return serveRelay(ctx, u, config, *asJSON)
}

// relayConfig is the default, changed by the file, then the environment, then flags.
func relayConfig(file string, given map[string]*string, lookup func(string) (string, bool)) (relay.Config, error) {
	config := relay.Default()
	if file != "" {
		var err error
		if config, err = relay.ReadConfig(file); err != nil {
			return config, &failure{err: fmt.Errorf("--config: %w", err), hint: "docs/relay.md has an example; enclave relay check prints what is in effect without a file", usage: true}
		}
	}
	for _, s := range relay.Settings {
		variable, ok := lookup(s.Variable())
		if err := set(&config, s, s.Variable(), variable, ok); err != nil {
			return config, err
		}
		if flag := given[s.Name]; flag != nil {
			if err := set(&config, s, "--"+s.Name, *flag, true); err != nil {
				return config, err
			}
		}
	}
	if err := config.Check(); err != nil {
		return config, &failure{err: fmt.Errorf("relay: %s", strings.ReplaceAll(err.Error(), "\n", "; ")), hint: "enclave relay --help shows the flags, and docs/relay.md the configuration file", usage: true}
	}
	return config, nil
}

func set(c *relay.Config, s relay.Setting, name, value string, is bool) error {
	if !is {
		return nil
	}
	if err := s.Set(c, value); err != nil {
		return &failure{err: fmt.Errorf("%s: %w", name, err), hint: "enclave relay --help shows the flags", usage: true}
	}
	return nil
}

// printConfig prints what is in effect, in a form that --config takes.
func (u *ui) printConfig(c *relay.Config) error {
	text, err := c.JSON()
	if err != nil {
		return err
	}
	value := jsontext.Value(text)
	if err := value.Indent(jsontext.WithIndent("  ")); err != nil {
		return err
	}
	u.print("%s\n", value)
	return nil
}

func serveRelay(ctx context.Context, u *ui, config relay.Config, asJSON bool) error {
	at, err := listen("--addr", config.Addr, false)
	if err != nil {
		return err
	}
	defer at.close()
	log := relay.NewLog(u.stderr, config.Log)
	r, err := relay.Open(ctx, config, log)
	if errors.Is(err, relay.ErrLocked) {
		return withHint(fmt.Errorf("relay: %w", err), "end the relay that runs there, or give this one its own --data")
	}
	if err != nil {
		return withHint(fmt.Errorf("relay: %w", err), "look whether --data can be written, or whether --nats is there and runs JetStream of 2.12 or later")
	}
	url := at.origin()
	if config.TLSCertificate != "" {
		url = "https" + strings.TrimPrefix(url, "http")
	}
	u.announceRelay(url, config.Origin, asJSON)
	if err := r.Serve(ctx, at.listeners...); err != nil {
		return withHint(err, "what did not end in time is done again at the next start; a longer --drain-time gives it more")
	}
	return nil
}

func (u *ui) announceRelay(url, origin string, asJSON bool) {
	if asJSON {
		u.print("{\"url\":%q,\"origin\":%q}\n", url, origin)
		return
	}
	u.print("relay    %s\norigin   %s\n", url, origin)
}
