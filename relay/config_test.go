package relay

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/must"
)

// TestConfig is everything that a configuration can be refused for.
func TestConfig(t *testing.T) {
	t.Parallel()
	good := func() Config {
		c := Default()
		c.Origin, c.Data = testOrigin, "data"
		return c
	}
	c := good()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*Config){
		"addr":                       func(c *Config) { c.Addr = "" },
		"origin: got \"relay":        func(c *Config) { c.Origin = "relay.example" },
		"origin: got \"http:":        func(c *Config) { c.Origin = "http://relay.example" },
		"origin: got \"https://r/":   func(c *Config) { c.Origin = "https://r/" },
		"origin: got \"https://R":    func(c *Config) { c.Origin = "https://R.example" },
		"origin: got \"https://r.e":  func(c *Config) { c.Origin = "https://r.example:443" },
		"origin: got \"https://r.f":  func(c *Config) { c.Origin = "https://r.f:" },
		"origin: got \"http://lo":    func(c *Config) { c.Origin = "http://localhost:80" },
		"origin: got \"http://lu":    func(c *Config) { c.Origin = "http://lucalhost" },
		"tls: ":                      func(c *Config) { c.TLSCertificate, c.TLSKey = "missing.pem", "missing.key" },
		"data, nats":                 func(c *Config) { c.Data = "" },
		"data, nats: wanted one":     func(c *Config) { c.NATS = []string{"nats://a"} },
		"replicas: got 0":            func(c *Config) { c.Replicas = 0 },
		"replicas: got 3":            func(c *Config) { c.Replicas = 3 },
		"stream":                     func(c *Config) { c.Stream = "a.b" },
		"maxStore":                   func(c *Config) { c.MaxStore = 1 },
		"tlsCertificate":             func(c *Config) { c.TLSKey = "x" },
		"trustedProxies":             func(c *Config) { c.TrustedProxies = []string{"proxy"} },
		"attemptTime":                func(c *Config) { c.AttemptTime = 0 },
		"drainTime":                  func(c *Config) { c.DrainTime = -1 },
		"log":                        func(c *Config) { c.Log = "xml" },
		"limits":                     func(c *Config) { c.Limits.UserBurst = 0 },
		"services: got none":         func(c *Config) { c.Services = nil },
		"services: got host \"*.com": func(c *Config) { c.Services = []Service{{Host: "*.com"}} },
		"services: a.example: got":   func(c *Config) { c.Services = []Service{{Host: "a.example", Parallel: -1}} },
		"ca: ":                       func(c *Config) { c.CA = "/does/not/exist" },
	} {
		c := good()
		edit(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, origin := range []string{"http://localhost:8445", "http://127.0.0.1:1", "https://relay.example:8443"} {
		c := good()
		c.Origin = origin
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", origin, err)
		}
	}
}

// TestConfigFile: what a file says takes the place of the default, and nothing in it is passed over.
func TestConfigFile(t *testing.T) {
	t.Parallel()
	c := Default()
	if err := c.Merge([]byte(`{"services":[{"host":"a.example"}],"attemptTime":"3s","limits":{"userBurst":7}}`)); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 1 || c.Services[0] != (Service{Host: "a.example"}) || c.AttemptTime != Duration(3*time.Second) || c.Limits.UserBurst != 7 || c.Limits.Queued != Default().Limits.Queued {
		t.Errorf("%+v", c)
	}
	for _, text := range []string{`{"adr":"x"}`, `{"addr":1}`, `{"addr":"a","addr":"b"}`, `{`, `{"attemptTime":"soon"}`, `{"limits":{"x":1}}`} {
		if err := c.Merge([]byte(text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// TestSettings: each flag sets something, and what it sets can be seen.
func TestSettings(t *testing.T) {
	t.Parallel()
	values := map[string]string{"replicas": "3", "max-store": "2G", "services": "private:push.house:8443,*.a.example", "attempt-time": "3s", "drain-time": "4s"}
	for _, s := range Settings {
		c := Default()
		value, ok := values[s.Name]
		if !ok {
			value = "value"
		}
		before := string(must.Get[[]byte](t)(c.JSON()))
		if err := s.Set(&c, value); err != nil || before == string(must.Get[[]byte](t)(c.JSON())) {
			t.Errorf("%s sets nothing: %v", s.Name, err)
		}
		if want := "KMS_RELAY_" + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_")); s.Variable() != want {
			t.Errorf("%s", s.Variable())
		}
	}
	for value, want := range map[string]int64{"1": 1, "2K": 2048, "3M": 3 << 20, "8G": 8 << 30, "": -1, "G": -1, "-1": -1, "1T": -1, "1GG": -1, "9999999999G": -1} {
		if n, err := parseSize(value); err == nil && n != want || err != nil && want != -1 {
			t.Errorf("%q: %d %v", value, n, err)
		}
	}
}

// TestOneProcess: a data directory has one relay.
func TestOneProcess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	lock := must.Get[*os.File](t)(lockData(dir))
	if _, err := lockData(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("%v", err)
	}
	lock.Close()
	lock = must.Get[*os.File](t)(lockData(dir))
	lock.Close()
	if info := must.Get[os.FileInfo](t)(os.Stat(dir)); info.Mode().Perm() != 0o700 {
		t.Errorf("%s", info.Mode())
	}
}
