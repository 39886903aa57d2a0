// Package demo is the demo app: an installable web app that embeds the enclave
// from another site and shows, one step at a time, what an app can do with
// keys that it cannot reach.
//
// [Handler] serves the whole of the app's own origin:
//
//	/                      index.html, with the import map of the SDK
//	/…                     the files of static/, by their names
//	/sdk/…                 the SDK's modules, from the file system given by the caller
//	/pin.js                what the app pins, generated from [Config]
//	/relays.js             the relays that it offers, likewise
//	/friend                a message for later: friend.go
//
// A real app commits its pin to its own source. The demo generates it, because
// its enclave is built by the same command that serves it.
//
// The enclave never comes from this origin: what this handler serves can embed
// [Config.EnclaveURL] and talk to its host and the relays, and nothing else.
//
// What docs/embedding.md asks of apps, this one does: the policy names the one
// page that may be embedded, and the browser checks the SDK's modules against
// the import map before it runs them.
package demo

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kms-enclave/kms-enclave/release"
)

//go:generate go run ./internal/icons -out static/icons

//go:embed static
var embedded embed.FS

// Config says which enclave the app embeds, and what it pins of it.
type Config struct {
	EnclaveURL  string // absolute URL of the release's kms.html
	Policy      string // the pin's policy: one line of CSP; empty means unpinned
	Wasm        string // the pin's module hash, "sha384-" and base64
	Measurement string // SHA-384 of the loader, 96 hex digits, shown to people

	Relays        []Relay // who may be allowed to send notifications
	WithoutRelays string  // why there are none, for people
}

// Handler returns the app's origin. sdk is the root of the SDK's sources.
//
// The import map is made once: a module of the SDK that changes afterwards is
// one that browsers refuse, until the program starts again.
//
// It panics if cfg.EnclaveURL is not the absolute http or https URL of a page, or a
// relay's origin is not one: they go into the policy of every page, and it is the program that chose them.
func Handler(cfg Config, sdk fs.FS) http.Handler {
	origin, err := originOf(cfg.EnclaveURL)
	if err != nil {
		panic(err)
	}
	framed, err := pageOf(cfg.EnclaveURL)
	if err != nil {
		panic(err)
	}
	fetched := []string{origin}
	for _, relay := range cfg.Relays {
		if o, err := originOf(relay.Origin); err != nil || o != relay.Origin {
			panic(fmt.Sprintf("demo: relay: got %q, wanted an origin", relay.Origin))
		}
		fetched = append(fetched, relay.Origin)
	}
	static, err := fs.Sub(embedded, "static")
	if err != nil {
		panic(err) // the embedded directory is part of the program
	}
	page, err := fs.ReadFile(static, indexName)
	if err != nil {
		panic(err) // so is the page
	}
	integrity := importMap(sdk)
	site := &site{
		static: static,
		sdk:    sdk,
		page:   withImportMap(page, integrity),
		pin:    pinModule(cfg),
		relays: relaysModule(cfg.Relays, cfg.WithoutRelays),
		friend: newFriend(cfg.Relays),
		policy: policy(fetched, framed, integrity),
	}
	return http.HandlerFunc(site.serve)
}

// site is one app origin. Its fields do not change once it is built.
type site struct {
	static fs.FS
	sdk    fs.FS
	page   []byte
	pin    []byte
	relays []byte
	friend *friend
	policy string
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.setHeaders(w.Header())
	if r.URL.Path == friendPath || strings.HasPrefix(r.URL.Path, friendPath+"/") {
		s.friend.serve(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405 method not allowed: GET or HEAD wanted", http.StatusMethodNotAllowed)
		return
	}
	content, contentType, err := s.find(r.URL.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, "500 file cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("ETag", entityTag(content))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// setHeaders sets what every response has, errors included.
func (s *site) setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", s.policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache") // ask again, with the ETag, before each use
}

// find returns the file at a URL path, or an error that is [fs.ErrNotExist] if
// the app has no such file. Only file systems with rooted names are opened, and
// only with names that [fs.ValidPath] accepts: "..", an empty element or a
// trailing slash finds nothing.
func (s *site) find(urlPath string) (content []byte, contentType string, err error) {
	name := strings.TrimPrefix(urlPath, "/")
	if name == "" {
		name = indexName
	}
	contentType, ok := contentTypes[path.Ext(name)]
	if !ok || !fs.ValidPath(name) || strings.Contains(name, `\`) {
		return nil, "", fs.ErrNotExist
	}
	switch name {
	case indexName:
		return s.page, contentType, nil
	case "pin.js":
		return s.pin, contentType, nil
	case "relays.js":
		return s.relays, contentType, nil
	}
	if module, ok := strings.CutPrefix(name, "sdk/"); ok {
		if !isModule(module) {
			return nil, "", fs.ErrNotExist
		}
		content, err = fs.ReadFile(s.sdk, module)
		return content, contentType, err
	}
	content, err = fs.ReadFile(s.static, name)
	return content, contentType, err
}

// contentTypes are the kinds of file that the app consists of. Another kind is
// not served at all, rather than with a type that somebody guesses.
var contentTypes = map[string]string{
	".css":         "text/css; charset=utf-8",
	".html":        "text/html; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".webmanifest": "application/manifest+json",
}

// isModule reports whether a file of the SDK is one that an app needs: a
// JavaScript module that is neither a test nor somebody else's package.
func isModule(name string) bool {
	base := path.Base(name)
	if path.Ext(base) != ".js" || strings.HasSuffix(base, ".test.js") || strings.HasSuffix(base, "_test.js") {
		return false
	}
	return !slices.ContainsFunc(strings.Split(name, "/"), func(element string) bool {
		return strings.HasPrefix(element, ".") ||
			slices.Contains([]string{"test", "tests", "testdata", "node_modules"}, element)
	})
}

const (
	indexName = "index.html"

	// emptyImportMap is where index.html has room for the import map, before its
	// first module: import maps that come later apply to nothing loaded earlier.
	emptyImportMap = `<script type="importmap"></script>`
)

// importMap is the import map of the SDK, the text that "enclave build" prints
// for the same files. A file that cannot be read is not in it, and is not
// served either.
func importMap(sdk fs.FS) []byte {
	names, err := fs.Glob(sdk, "*.js")
	if err != nil {
		panic(err) // the pattern is well formed
	}
	var described release.Description
	for _, name := range names {
		content, err := fs.ReadFile(sdk, name)
		if err != nil || !isModule(name) {
			continue
		}
		described.SDK = append(described.SDK, release.FileInfo{Name: name, SHA384: release.Integrity(content), Size: len(content)})
	}
	return described.ImportMap("/sdk/")
}

// withImportMap puts the import map into the page.
func withImportMap(page, integrity []byte) []byte {
	if bytes.Count(page, []byte(emptyImportMap)) != 1 {
		panic("demo: index.html has no single place for the import map")
	}
	opened, closed, _ := strings.Cut(emptyImportMap, "><")
	return bytes.Replace(page, []byte(emptyImportMap), slices.Concat([]byte(opened+">"), integrity, []byte("<"+closed)), 1)
}

// policy is the Content-Security-Policy of every response of the app: code,
// style and pictures from its own origin; as other origins to fetch from the
// enclave's, which is the first, and the relays'; and one page of the enclave to embed. Firefox asks frame-src, too, when that page hands
// out a file, which is a blob of its own. The import map has to be in the page,
// so its hash allows this one text (CSP3 section 2.3.1, hash-source).
func policy(fetched []string, enclavePage string, integrity []byte) string {
	sum := sha256.Sum256(integrity)
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self' 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
		"style-src 'self'",
		"img-src 'self' data:",
		"connect-src 'self' " + strings.Join(fetched, " "),
		"frame-src " + enclavePage + " blob:",
		"manifest-src 'self'",
		"worker-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
	}, "; ")
}

// originOf returns the ASCII serialisation of a URL's origin, checked to be
// one host-source of a policy (CSP3 section 2.3.1): nothing in it can end the
// source, the directive or the header.
func originOf(enclaveURL string) (string, error) {
	u, err := url.Parse(enclaveURL)
	if err != nil {
		return "", fmt.Errorf("enclave URL cannot be parsed: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("enclave URL has scheme %q, wanted http or https", u.Scheme)
	}
	foreign := func(c rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:[]", c)
	}
	if u.Host == "" || strings.ContainsFunc(u.Host, foreign) {
		return "", fmt.Errorf("enclave URL has host %q, wanted a name or an address", u.Host)
	}
	return u.Scheme + "://" + u.Host, nil
}

// pageOf returns a page's URL as one host-source with a path. Without a path,
// or with one that ends with a slash, a source would allow more than one page;
// queries and fragments play no part in matching (CSP3 section 6.7.2.8).
func pageOf(enclaveURL string) (string, error) {
	origin, err := originOf(enclaveURL)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(enclaveURL)
	if err != nil {
		return "", fmt.Errorf("enclave URL cannot be parsed: %w", err)
	}
	foreign := func(c rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/", c)
	}
	if u.Path == "" || strings.HasSuffix(u.Path, "/") || strings.ContainsFunc(u.Path, foreign) {
		return "", fmt.Errorf("enclave URL has path %q, wanted that of a page, of letters, digits and -._~/", u.Path)
	}
	return origin + u.Path, nil
}

// pinModule is the source of /pin.js.
func pinModule(cfg Config) []byte {
	pin := "null"
	if cfg.Policy != "" {
		pin = literal(struct {
			Policy string `json:"policy"`
			Wasm   string `json:"wasm"`
		}{cfg.Policy, cfg.Wasm})
	}
	return fmt.Appendf(nil, `// What this app pins: the one release of the enclave that it starts. Generated.
export const pin = %s;
export const url = %s;
export const measurement = %s;
`, pin, literal(cfg.EnclaveURL), literal(cfg.Measurement))
}

// literal returns v as a JavaScript expression. JSON is one (ECMA-262 section
// 25.5.2), and with the two escapings it stays one inside HTML and in engines
// that end a line at U+2028.
func literal(v any) string {
	text, err := json.Marshal(v, jsontext.EscapeForHTML(true), jsontext.EscapeForJS(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic(err) // strings and structs of strings always have a form in JSON
	}
	return string(text)
}

// entityTag is a strong validator (RFC 9110 section 8.8.3): equal tags, equal bytes.
func entityTag(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
}
