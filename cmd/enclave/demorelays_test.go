package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/relay"
)

func relayFlagsOf(addrs, data, services, ca string) relayFlags {
	return relayFlags{&addrs, &data, &services, &ca}
}

// TestDemoRelays: two relays answer, each by its own name and on data of its own, end with the demo, and leave nothing behind.
func TestDemoRelays(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, data := range []string{"", filepath.Join(t.TempDir(), "kept")} {
		var stderr bytes.Buffer
		ctx, stop := context.WithCancel(t.Context())
		d, err := startRelays(ctx, &ui{stderr: &stderr}, relayFlagsOf("localhost:0, localhost:0", data, "", ""))
		if err != nil || len(d.offered) != 2 || d.why != "" {
			t.Fatalf("got %+v, %v\n%s", d, err, stderr.String())
		}
		if d.offered[0].Origin == d.offered[1].Origin || d.offered[0].Name == d.offered[1].Name {
			t.Errorf("got %v, wanted two", d.offered)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.serve(ctx, &ui{stderr: &stderr})
		}()
		client := &http.Client{Timeout: 5 * time.Second}
		for _, each := range d.offered {
			response, err := client.Get(each.Origin + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("%s: got %d, wanted 200", each.Name, response.StatusCode)
			}
		}
		client.CloseIdleConnections()
		stop()
		<-ended
		if stderr.Len() > 0 {
			t.Errorf("said %s", stderr.String())
		}
		if data != "" {
			for _, name := range []string{"relay-1", "relay-2"} {
				if _, err := os.Stat(filepath.Join(data, name)); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v behind", left, err)
	}
}

// TestDemoWithoutRelays: a relay that cannot start is said, and takes the other one along: the demo goes on without.
func TestDemoWithoutRelays(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, given := range map[string]relayFlags{
		"port " + port + " is in use": relayFlagsOf("localhost:0,localhost:"+port, "", "", ""),
		"not a directory":             relayFlagsOf("localhost:0", filepath.Join(file, "data"), "", ""),
	} {
		var stderr bytes.Buffer
		d, err := startRelays(t.Context(), &ui{stderr: &stderr}, given)
		if err != nil || len(d.offered)+len(d.running) > 0 || !strings.Contains(d.why, want) || !strings.Contains(stderr.String(), "warning: without relays") {
			t.Errorf("wanted %q, got %+v, %v\n%s", want, d, err, stderr.String())
		}
	}
	if d, err := startRelays(t.Context(), &ui{}, relayFlagsOf("", "", "", "")); err != nil || len(d.offered) > 0 {
		t.Errorf("none wanted, got %+v, %v", d, err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v behind", left, err)
	}
}

// TestDemoRelayServices: push services of a test are known beside the vendors', and not instead of them.
func TestDemoRelayServices(t *testing.T) {
	config, err := demoRelayConfig(relayFlagsOf("", "", "private:localhost:1234", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	vendors := relay.Default().Services
	if got := config.Services; len(got) != len(vendors)+1 || got[0] != vendors[0] || got[len(vendors)] != (relay.Service{Host: "localhost:1234", Private: true}) || config.CA != "ca.pem" {
		t.Errorf("got %+v, %q", got, config.CA)
	}
	for want, args := range map[string][]string{
		"error: --push-services: got \"*.com\"": {"demo", "--push-services", "*.com"},
		"error: --relay-addrs: got 3 addresses": {"demo", "--relay-addrs", "a:1,b:2,c:3"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append(args, "--addr", "127.0.0.1:0", "--enclave-addr", "localhost:0"), nil, &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), want) || !strings.Contains(stderr.String(), "enclave: hint: ") {
			t.Errorf("%q: %d\n%s", args, code, stderr.String())
		}
	}
}
