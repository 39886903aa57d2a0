package relay

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Setting is what a flag, and an environment variable, sets in a configuration.
type Setting struct {
	Name string // of the flag; KMS_RELAY_NAME, with _ for -, is the variable's
	Set  func(c *Config, value string) error
}

// Variable is the name in the environment.
func (s *Setting) Variable() string {
	return "KMS_RELAY_" + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// Settings are all of them. Limits are for the configuration file alone.
var Settings = []Setting{
	{"addr", text(func(c *Config) *string { return &c.Addr })},
	{"origin", text(func(c *Config) *string { return &c.Origin })},
	{"data", text(func(c *Config) *string { return &c.Data })},
	{"nats", list(func(c *Config) *[]string { return &c.NATS })},
	{"nats-credentials", text(func(c *Config) *string { return &c.NATSCredentials })},
	{"stream", text(func(c *Config) *string { return &c.Stream })},
	{"replicas", func(c *Config, value string) (err error) { c.Replicas, err = strconv.Atoi(value); return err }},
	{"max-store", func(c *Config, value string) (err error) { c.MaxStore, err = parseSize(value); return err }},
	{"tls-certificate", text(func(c *Config) *string { return &c.TLSCertificate })},
	{"tls-key", text(func(c *Config) *string { return &c.TLSKey })},
	{"trusted-proxies", list(func(c *Config) *[]string { return &c.TrustedProxies })},
	{"services", func(c *Config, value string) (err error) { c.Services, err = parseServices(value); return err }},
	{"ca", text(func(c *Config) *string { return &c.CA })},
	{"attempt-time", duration(func(c *Config) *Duration { return &c.AttemptTime })},
	{"drain-time", duration(func(c *Config) *Duration { return &c.DrainTime })},
	{"log", text(func(c *Config) *string { return &c.Log })},
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		*field(c) = value
		return nil
	}
}

func list(field func(*Config) *[]string) func(*Config, string) error {
	return func(c *Config, value string) error {
		*field(c) = nil
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*field(c) = append(*field(c), item)
			}
		}
		return nil
	}
}

func duration(field func(*Config) *Duration) func(*Config, string) error {
	return func(c *Config, value string) error {
		d, err := time.ParseDuration(value)
		*field(c) = Duration(d)
		return err
	}
}

// parseSize reads a number of bytes, with K, M or G for powers of 1024.
func parseSize(value string) (int64, error) {
	digits := strings.TrimRight(value, "KMG")
	n, err := strconv.ParseInt(digits, 10, 64)
	unit, known := map[string]int64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[strings.TrimPrefix(value, digits)]
	if err != nil || !known || n < 0 || n > (1<<62)/unit {
		return 0, errors.New("wanted a number of bytes, such as 8G")
	}
	return n * unit, nil
}

// parseServices reads hosts, with "private:" before those that may have private addresses.
func parseServices(value string) (all []Service, err error) {
	for item := range strings.SplitSeq(value, ",") {
		host, private := strings.CutPrefix(strings.TrimSpace(item), "private:")
		if !isPattern(host) {
			return nil, fmt.Errorf("got %q, wanted host names, with private: before those in a private network", item)
		}
		all = append(all, Service{Host: host, Private: private})
	}
	return all, nil
}
