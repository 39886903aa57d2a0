package main

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/relay"
)

// TestRelayPrecedence: a flag wins over a variable, a variable over the file, the file over the default.
func TestRelayPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relay.json")
	if err := os.WriteFile(file, []byte(`{"origin":"https://file.example","data":"file","addr":"file:1","log":"json"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	origin, none := "https://flag.example", ""
	given := map[string]*string{"origin": &origin, "ca": &none}
	variables := map[string]string{"KMS_RELAY_ORIGIN": "https://variable.example", "KMS_RELAY_DATA": "variable", "KMS_RELAY_CA": "variable.pem"}
	c, err := relayConfig(file, given, func(name string) (string, bool) { v, ok := variables[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	if c.Origin != "https://flag.example" || c.Data != "variable" || c.Addr != "file:1" || c.Log != "json" || c.CA != "" || c.Stream != relay.Default().Stream {
		t.Errorf("%+v", c)
	}
}

// TestRelayMisuse: whatever is wrong, one line says what and one what to do, and the exit code is 2.
func TestRelayMisuse(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "relay.json")
	if err := os.WriteFile(bad, []byte(`{"orign":"https://relay.example"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"error: relay: origin: got \"\"":     {"relay", "--data", "x"},
		"error: relay: data, nats: wanted":   {"relay", "check", "--origin", "https://relay.example"},
		"error: --max-store: wanted a":       {"relay", "--max-store", "big"},
		"error: --services: got \"*.com\"":   {"relay", "--services", "*.com"},
		"error: --config: configuration: ":   {"relay", "check", "--config", bad},
		"error: --config: open ":             {"relay", "check", "--config", bad + "x"},
		"error: relay: flag provided but no": {"relay", "--orign", "x"},
		"error: relay: got argument \"x\"":   {"relay", "x"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), args, nil, &stdout, &stderr)
		if code != exitUsage || stdout.Len() > 0 || !strings.Contains(stderr.String(), want) || strings.Count(stderr.String(), "\n") != 2 || !strings.Contains(stderr.String(), "enclave: hint: ") {
			t.Errorf("%q: %d\n%s%s", args, code, stdout.String(), stderr.String())
		}
	}
}

// TestRelayCheck prints a configuration that --config takes.
func TestRelayCheck(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"relay", "--check", "--origin", "https://relay.example", "--data", "x", "--max-store", "2G"}, nil, &stdout, &stderr); code != exitDone {
		t.Fatalf("%d %s", code, stderr.String())
	}
	c := relay.Default()
	if err := c.Merge(stdout.Bytes()); err != nil || c.MaxStore != 2<<30 || c.Check() != nil {
		t.Errorf("%v: %s", err, stdout.String())
	}
	stdout.Reset()
	if code := run(t.Context(), []string{"relay", "--help"}, nil, &stdout, &stderr); code != exitDone {
		t.Errorf("%d", code)
	}
	for _, s := range relay.Settings {
		if !strings.Contains(stdout.String(), "\n  --"+s.Name+" ") {
			t.Errorf("--help does not say what --%s is", s.Name)
		}
	}
}

// TestRelayRuns: it says where it is, answers, and ends well when it is told to.
func TestRelayRuns(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"relay", "--json", "--addr", "127.0.0.1:0", "--origin", "https://relay.example", "--data", t.TempDir()}, nil, in, &stderr)
	}()
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	var ready struct {
		URL    string `json:"url"`
		Origin string `json:"origin"`
	}
	if err := json.Unmarshal(line[:n], &ready); err != nil || ready.Origin != "https://relay.example" {
		t.Fatalf("%s: %v", line[:n], err)
	}
	response, err := http.Get(ready.URL + "/readyz")
	if err != nil || response.StatusCode != http.StatusOK {
		cancel()
		t.Fatalf("%v %v; it ended with %d\n%s", response, err, <-code, stderr.String())
	}
	response.Body.Close()
	cancel()
	select {
	case c := <-code:
		if c != exitDone {
			t.Errorf("%d\n%s", c, stderr.String())
		}
	case <-time.After(15 * time.Second):
		t.Error("it does not end")
	}
}
