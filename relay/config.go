package relay

import (
	"crypto/tls"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/kms-enclave/kms-enclave/webpush"
)

// Config is everything that an operator decides. Its JSON form is that of the configuration file.
type Config struct {
	Addr            string    `json:"addr"`            // where to listen
	Origin          string    `json:"origin"`          // what the relay is called: the aud of its tokens
	Data            string    `json:"data"`            // directory of the embedded storage
	NATS            []string  `json:"nats"`            // a cluster instead of the embedded storage
	NATSCredentials string    `json:"natsCredentials"` // file with the cluster's user credentials
	Stream          string    `json:"stream"`          // name of the JetStream stream, and prefix of its subjects
	Replicas        int       `json:"replicas"`        // of the stream, in a cluster
	MaxStore        int64     `json:"maxStore"`        // bytes; beyond nine tenths of them no message is accepted
	TLSCertificate  string    `json:"tlsCertificate"`  // PEM file; without it a proxy in front speaks TLS
	TLSKey          string    `json:"tlsKey"`
	TrustedProxies  []string  `json:"trustedProxies"` // addresses whose X-Forwarded-For is believed
	Services        []Service `json:"services"`       // push services
	CA              string    `json:"ca"`             // PEM file with certificates that push services may have, beside the system's
	AttemptTime     Duration  `json:"attemptTime"`    // how long one attempt at a push service may take
	DrainTime       Duration  `json:"drainTime"`      // what attempts and requests get to end at a stop
	Limits          Limits    `json:"limits"`
	Log             string    `json:"log"` // text or json
	trusted         []netip.Prefix
}

// Service is a push service, or several of one operator.
type Service struct {
	Host     string `json:"host"`     // a name, or *.name for everything below; with a port if it is not 443
	Private  bool   `json:"private"`  // it may have a private address: in tests, and in a house of one's own
	Parallel int    `json:"parallel"` // attempts at a time; 0 is the default, 64
}

// Limits bound what one user, one address and all together may do.
type Limits struct {
	UserRate     float64 `json:"userRate"` // requests per second of one user, with tokens of one scope
	UserBurst    int     `json:"userBurst"`
	AddressRate  float64 `json:"addressRate"` // requests per second from one IPv4 address or IPv6 /64
	AddressBurst int     `json:"addressBurst"`
	Queued       int64   `json:"queued"`      // messages of one subscription that may wait
	UserStreams  int     `json:"userStreams"` // event streams of one user that are open at a time
	Streams      int     `json:"streams"`     // event streams of all
	Connections  int     `json:"connections"` // connections of clients, on each address that is listened on
}

// Duration is a time.Duration that JSON has as text, such as "30s".
type Duration time.Duration

// MarshalText and UnmarshalText are its form in the configuration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText takes what time.ParseDuration takes.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// Default returns the configuration that nothing changes.
func Default() Config {
	return Config{
		Addr:        "localhost:8445",
		Stream:      "KMS_RELAY",
		Replicas:    1,
		MaxStore:    8 << 30,
		Services:    []Service{{Host: "fcm.googleapis.com"}, {Host: "updates.push.services.mozilla.com"}, {Host: "*.push.apple.com"}, {Host: "*.notify.windows.com"}},
		AttemptTime: Duration(20 * time.Second),
		DrainTime:   Duration(10 * time.Second),
		Limits: Limits{
			UserRate: 50, UserBurst: 500, AddressRate: 100, AddressBurst: 1000,
			Queued: 10_000, UserStreams: 10, Streams: 10_000, Connections: 20_000,
		},
		Log: "text",
	}
}

// Merge takes from a configuration file what is in it and leaves the rest. Members that are not known are refused.
func (c *Config) Merge(file []byte) error {
	if err := decodeStrict(file, c); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}

// JSON returns the configuration as a file that Merge takes.
func (c *Config) JSON() ([]byte, error) { return json.Marshal(c, json.Deterministic(true)) }

// minStore is what the storage needs to hold anything.
const minStore = 1 << 20

// Check says everything that is wrong with a configuration.
func (c *Config) Check() error {
	var wrong []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	wrong = append(wrong, c.checkOrigin(), c.checkProxies())
	refuse(c.Addr == "", "addr: got nothing, wanted HOST:PORT")
	refuse((c.Data == "") == (len(c.NATS) == 0), "data, nats: wanted one of them: a directory for the embedded storage, or a cluster")
	refuse(c.Replicas < 1 || c.Replicas > 5, "replicas: got %d, wanted 1 to 5", c.Replicas)
	refuse(c.Replicas > 1 && len(c.NATS) == 0, "replicas: got %d, the embedded storage has one", c.Replicas)
	refuse(c.Stream == "" || len(c.Stream) > 32 || strings.Trim(c.Stream, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "", "stream: got %q, wanted up to 32 of A-Z, 0-9 and _", c.Stream)
	refuse(c.MaxStore < minStore, "maxStore: got %d bytes, wanted at least %d", c.MaxStore, int64(minStore))
	refuse((c.TLSCertificate == "") != (c.TLSKey == ""), "tlsCertificate, tlsKey: wanted both or neither")
	refuse(c.AttemptTime < Duration(100*time.Millisecond) || c.AttemptTime > Duration(time.Minute), "attemptTime: got %s, wanted 100ms to 1m", time.Duration(c.AttemptTime))
	refuse(c.DrainTime < 0 || c.DrainTime > Duration(10*time.Minute), "drainTime: got %s, wanted up to 10m", time.Duration(c.DrainTime))
	refuse(c.Log != "text" && c.Log != "json", "log: got %q, wanted text or json", c.Log)
	wrong = append(wrong, c.Limits.check())
	if c.TLSCertificate != "" && c.TLSKey != "" {
		if _, err := tls.LoadX509KeyPair(c.TLSCertificate, c.TLSKey); err != nil {
			wrong = append(wrong, fmt.Errorf("tls: %w", err))
		}
	}
	if _, err := newServices(*c); err != nil {
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

func (c *Config) checkOrigin() error {
	origin := c.Origin
	if rest, ok := strings.CutPrefix(origin, "http://"); ok {
		if host, port, _ := strings.Cut(rest, ":"); (host == "localhost" || host == "127.0.0.1") && port != "80" {
			origin = "https://" + rest
		}
	}
	// What tokens are made out to is the origin as browsers and the enclave write it: in small letters, without a port of its own.
	if canonical, err := webpush.Audience(origin); err != nil || canonical != origin {
		return fmt.Errorf("origin: got %q, wanted the origin that clients know, such as https://relay.example", c.Origin)
	}
	return nil
}

func (c *Config) checkProxies() error {
	c.trusted = nil
	for _, text := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); err != nil && addrErr == nil {
			prefix, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return fmt.Errorf("trustedProxies: got %q, wanted an address or a prefix such as 10.0.0.0/8", text)
		}
		c.trusted = append(c.trusted, prefix)
	}
	return nil
}

func (l *Limits) check() error {
	if l.UserRate <= 0 || l.AddressRate <= 0 || l.UserBurst < 1 || l.AddressBurst < 1 || l.Queued < 1 || l.UserStreams < 1 || l.Streams < 1 || l.Connections < 1 {
		return errors.New("limits: got one that lets nothing pass, wanted more than 0 everywhere")
	}
	return nil
}

// ReadConfig is Default with what is in a file.
func ReadConfig(file string) (Config, error) {
	c := Default()
	text, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	return c, c.Merge(text)
}
