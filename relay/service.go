package relay

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kms-enclave/kms-enclave/internal/jws"
	"github.com/kms-enclave/kms-enclave/webpush"
)

const (
	defaultParallel = 64
	maxParallel     = 1024
	maxHeaderBytes  = 16 << 10 // of a push service's answer
)

// service is a push service at work.
type service struct {
	pattern string // host, or *.host, with its port unless that is 443
	private bool
	token   string // its part of subjects: what is queued for it can be asked for
	known   bool   // false for one that the configuration has no more: its queue is refused
	places  chan struct{}
	client  *webpush.Client
	pull    jetstream.MessagesContext
}

// newServices makes the push services of a configuration.
func newServices(c Config) ([]*service, error) {
	roots, err := readRoots(c.CA)
	if err != nil {
		return nil, err
	}
	if len(c.Services) == 0 {
		return nil, errors.New("services: got none, wanted a push service")
	}
	var all []*service
	for _, s := range c.Services {
		if !isPattern(s.Host) {
			return nil, fmt.Errorf("services: got host %q, wanted a name in lower case, or *.name, and perhaps a port", s.Host)
		}
		if s.Parallel < 0 || s.Parallel > maxParallel {
			return nil, fmt.Errorf("services: %s: got parallel %d, wanted up to %d", s.Host, s.Parallel, maxParallel)
		}
		made := newService(s.Host, s.Private, s.Parallel, roots)
		made.known = true
		all = append(all, made)
	}
	return all, nil
}

func newService(pattern string, private bool, parallel int, roots *x509.CertPool) *service {
	if parallel == 0 {
		parallel = defaultParallel
	}
	digest := sha256.Sum256([]byte(pattern))
	return &service{
		pattern: pattern, private: private, token: jws.Encode(digest[:9]), places: make(chan struct{}, parallel),
		client: &webpush.Client{Transport: newTransport(private, roots)},
	}
}

// newTransport makes connections to push services. It takes no proxy from the environment, and webpush follows no redirect.
func newTransport(private bool, roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		DialContext:            dialer(private, net.DefaultResolver).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        8,
		MaxIdleConnsPerHost:    8,
		MaxIdleConns:           128,
		IdleConnTimeout:        2 * time.Minute,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
}

// readRoots returns the system's certificates and those of a file; nil for the system's alone.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca: %s has no certificate in PEM", file)
	}
	return roots, nil
}

// isPattern reports whether a text can be a Service's Host.
func isPattern(pattern string) bool {
	host, wild := strings.CutPrefix(pattern, "*.")
	origin, err := webpush.Audience("https://" + host)
	return err == nil && origin == "https://"+host && (!wild || strings.Contains(host, "."))
}

// matches reports whether an endpoint's host, with its port unless that is 443, is of this service.
func (s *service) matches(host string) bool {
	if parent, wild := strings.CutPrefix(s.pattern, "*"); wild {
		name, ok := strings.CutSuffix(host, parent)
		return ok && name != "" && !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, ".")
	}
	return s.pattern == host
}

// serviceOf returns the push service of an endpoint and the endpoint's origin. errEndpoint if there is none.
func (r *Relay) serviceOf(endpoint string) (*service, string, error) {
	origin, err := webpush.Audience(endpoint)
	if err != nil || len(endpoint) > maxEndpoint {
		return nil, "", errEndpoint.with("wanted an https URL of at most %d bytes", maxEndpoint)
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Fragment != "" {
		return nil, "", errEndpoint.with("wanted an https URL without a fragment")
	}
	for _, s := range r.services {
		if s.known && s.matches(strings.TrimPrefix(origin, "https://")) {
			return s, origin, nil
		}
	}
	return nil, "", errEndpoint.with("the host is not one of those in the relay's configuration")
}

// maxEndpoint is the longest endpoint in bytes; real ones have some hundred.
const maxEndpoint = 2048
