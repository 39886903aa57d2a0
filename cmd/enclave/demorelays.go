package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/kms-enclave/kms-enclave/demo"
	"github.com/kms-enclave/kms-enclave/relay"
)

const defaultRelayAddrs = "localhost:8445,localhost:8446"

// relayNames are what the demo calls its relays: servers that two people run for their friends.
var relayNames = []string{"Anna’s relay", "Ben’s relay"}

// relayFlags are what demo is told about relays.
type relayFlags struct {
	addrs    *string
	data     *string
	services *string
	ca       *string
}

// demoRelays are relays that run in this process.
type demoRelays struct {
	offered []demo.Relay
	why     string // there are none
	running []runningRelay
	remove  string // a temporary directory
}

type runningRelay struct {
	relay *relay.Relay
	at    *address
}

// startRelays starts the demo's relays. It fails for flags that make no sense; what the machine does not let it do is said, and the
// demo goes on without relays.
func startRelays(ctx context.Context, u *ui, given relayFlags) (*demoRelays, error) {
	d := &demoRelays{}
	addrs := strings.FieldsFunc(*given.addrs, func(c rune) bool { return c == ',' })
	if len(addrs) > len(relayNames) {
		return nil, &failure{err: fmt.Errorf("--relay-addrs: got %d addresses, wanted at most %d", len(addrs), len(relayNames)), hint: "for instance --relay-addrs " + defaultRelayAddrs, usage: true}
	}
	config, err := demoRelayConfig(given)
	if err != nil || len(addrs) == 0 {
		return d, err
	}
	if err := d.start(ctx, u, addrs, *given.data, config); err != nil {
		d.close(ctx)
		d = &demoRelays{why: err.Error()}
		u.warn("without relays, and so without notifications: %v", err)
	}
	return d, nil
}

// demoRelayConfig is what all relays of the demo have in common: they know the vendors' push services, and those of a test.
func demoRelayConfig(given relayFlags) (relay.Config, error) {
	config := relay.Default()
	config.MaxStore = 64 << 20
	for _, s := range relay.Settings {
		value := map[string]string{"services": *given.services, "ca": *given.ca}[s.Name]
		if value == "" {
			continue
		}
		known := config.Services
		if err := set(&config, s, "--push-"+s.Name, value, true); err != nil {
			return config, err
		}
		if s.Name == "services" {
			config.Services = append(known, config.Services...)
		}
	}
	return config, nil
}

func (d *demoRelays) start(ctx context.Context, u *ui, addrs []string, data string, config relay.Config) error {
	if data == "" {
		temporary, err := os.MkdirTemp("", "enclave-demo-")
		if err != nil {
			return err
		}
		data, d.remove = temporary, temporary
	}
	for i, addr := range addrs {
		config.Data = filepath.Join(data, "relay-"+strconv.Itoa(i+1))
		if err := d.startOne(ctx, u, relayNames[i], addr, config); err != nil {
			return err
		}
	}
	return nil
}

func (d *demoRelays) startOne(ctx context.Context, u *ui, name, addr string, config relay.Config) error {
	at, err := listen("--relay-addrs", strings.TrimSpace(addr), false)
	if err != nil {
		return err
	}
	config.Addr, config.Origin = addr, at.origin()
	if err := config.Check(); err != nil {
		at.close()
		return fmt.Errorf("relay: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if err := os.MkdirAll(config.Data, 0o700); err != nil {
		at.close()
		return err
	}
	log := slog.New(slog.NewTextHandler(u.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})) // what is wrong, and not each start
	r, err := relay.Open(ctx, config, log)
	if err != nil {
		at.close()
		return fmt.Errorf("relay: %w", err)
	}
	d.running = append(d.running, runningRelay{r, at})
	d.offered = append(d.offered, demo.Relay{Name: name, Origin: config.Origin})
	return nil
}

// serve answers until ctx is done, and then lets what is in flight end.
func (d *demoRelays) serve(ctx context.Context, u *ui) {
	var all sync.WaitGroup
	for _, r := range d.running {
		all.Go(func() {
			if err := r.relay.Serve(ctx, r.at.listeners...); err != nil {
				u.warn("relay: %v", err)
			}
		})
	}
	all.Wait()
	d.running = nil // they are closed
	d.close(ctx)
}

// close ends relays that were not served, and removes what was temporary.
func (d *demoRelays) close(ctx context.Context) {
	for _, r := range d.running {
		_ = r.relay.Close(ctx) // nothing is in flight
		r.at.close()
	}
	if d.remove != "" {
		_ = os.RemoveAll(d.remove) // the system's own cleaning gets what is left
	}
}
