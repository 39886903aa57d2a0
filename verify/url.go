package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kms-enclave/kms-enclave/release"
)

// ErrTarget means that an address is not that of an enclave.
var ErrTarget = errors.New("not the address of an enclave")

var pageForm = regexp.MustCompile(`\A/(r/[0-9a-f]{32}/(kms\.html)?)?\z`)

// CheckTarget returns an error unless target is the URL of a release: of its
// page, of its directory, or of an origin, which means its newest release.
// http is for loopback addresses.
func CheckTarget(target string) (*url.URL, error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%w: got %q, wanted https://HOST/r/HEX/kms.html, or https://HOST for its newest release", ErrTarget, target)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	switch {
	case u.Scheme != "https" && !(u.Scheme == "http" && IsLoopback(u.Hostname())):
		return nil, fmt.Errorf("%w: got %q, wanted https (http on loopback only)", ErrTarget, target)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.EscapedPath() != u.Path || !pageForm.MatchString(u.Path):
		return nil, fmt.Errorf("%w: got %q, wanted https://HOST/r/HEX/kms.html with 32 hex digits and nothing after it", ErrTarget, target)
	}
	return u, nil
}

// IsLoopback reports whether a host name or address is this machine: browsers
// take http for secure there, and nowhere else.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// URL verifies what a host serves. The error is about target only.
func URL(ctx context.Context, target string, o Options) (Report, error) {
	u, err := CheckTarget(target)
	if err != nil {
		return Report{}, err
	}
	r := newRun(target, o)
	h := &host{origin: u.Scheme + "://" + u.Host, client: newClient()}
	defer h.client.CloseIdleConnections()
	m, contents, err := r.verifyHost(ctx, h, u.Path)
	r.report.Requests = h.requests
	if err == nil {
		err = r.rebuild(ctx, m, contents)
	}
	return r.end(err), nil
}

// verifyHost compares everything that a host serves of a release, in the time
// that the options give it, and returns the release's files.
func (r *run) verifyHost(ctx context.Context, h *host, at string) (m release.Manifest, contents map[string][]byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, &unchecked{fmt.Errorf("the host did not answer everything within %v", r.Timeout)})
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	r.Progress("reading the manifest")
	m, text, err := r.hostManifest(ctx, h, at)
	if err != nil {
		return m, nil, err
	}
	r.found(m)
	if err := r.checkMeasurement(m.Release.Path+release.ManifestName, m); err != nil {
		return m, nil, err
	}
	if origin := m.Deployment.Origin; origin != "" && origin != h.origin {
		r.note("The manifest is of a deployment at %s, and was asked for at %s.", origin, h.origin)
	}
	r.Progress("asking for every file, in every shape")
	if contents, err = r.compareHost(ctx, h, m, text); err != nil {
		return m, nil, err
	}
	if err := checkLoader(m.Release.Path+m.Release.Files[1].Name, m, contents[m.Release.Files[1].Name], contents[m.Release.Files[0].Name]); err != nil {
		return m, nil, err
	}
	r.proved("The host serves every file of the release byte for byte as its manifest says, with exactly its headers, however it was asked (%d requests in %d shapes).", h.requests, len(shapes()))
	r.proved("The loader has the measurement that the manifest names, and names the hash of the module; the page is the one text that starts that loader.")
	r.notProved("What the host serves to others: it may know this program by its address or its connection, and can change its answer at any time.")
	r.notProved("Other releases of the host, and whatever else lies on its origin: a page there can read the enclave's storage. Give the address of each release that apps pin.")
	if h.altSvc {
		r.notProved("What the host serves over HTTP/3, or at the other address that its Alt-Svc header names: browsers may go there, and this program did not.")
	}
	return m, contents, nil
}

// hostManifest finds the manifest of the release at a path of the host.
func (r *run) hostManifest(ctx context.Context, h *host, at string) (release.Manifest, []byte, error) {
	at = strings.TrimSuffix(at, "kms.html")
	a, err := h.ask(ctx, shapes()[0], at+release.ManifestName, "", release.MaxManifest)
	if err != nil {
		return release.Manifest{}, nil, err
	}
	m, err := parse(a.file, a.shape, a.content)
	if err != nil {
		return m, nil, err
	}
	if at != "/" && m.Release.Path != at {
		return m, nil, &Difference{File: a.file, What: "path", Got: m.Release.Path, Want: at}
	}
	return m, a.content, nil
}

// atOnce bounds how many requests are under way.
const atOnce = 4

// compareHost asks for every file in every shape, and returns the files.
func (r *run) compareHost(ctx context.Context, h *host, m release.Manifest, manifest []byte) (map[string][]byte, error) {
	files := slices.Clone(m.Release.Files)
	files = append(files, release.FileInfo{Name: release.ManifestName, SHA384: release.Integrity(manifest), Size: len(manifest)})
	var mu sync.Mutex
	contents := map[string][]byte{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	app := embedder(m.Deployment.FrameAncestors)
	for _, s := range shapes() {
		for _, f := range files {
			if !s.covers(f.Name) {
				continue
			}
			group.Go(func() error {
				a, err := h.ask(ctx, s, m.Release.Path+f.Name, app, f.Size)
				if err != nil {
					return err
				}
				if err := h.compareHeaders(a, m.Deployment.Headers[f.Name]); err != nil {
					return err
				}
				if err := compareFile(a.file, a.shape, a.content, f); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				contents[f.Name] = a.content
				return nil
			})
		}
	}
	return contents, group.Wait()
}

// host is where requests go.
type host struct {
	origin string
	client *http.Client

	mu       sync.Mutex
	requests int
	altSvc   bool // it names another address of itself
}

// answer is what a host answered with status 200.
type answer struct {
	file, shape string
	header      http.Header
	content     []byte // decoded
}

// Bounds of one answer.
const (
	headerTimeout  = 10 * time.Second // until its headers have come
	maxHeaderBytes = 64 << 10
)

// newClient returns a client that follows nothing and sends nothing of its own.
func newClient() *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: headerTimeout}).DialContext,
			TLSHandshakeTimeout:    headerTimeout,
			ResponseHeaderTimeout:  headerTimeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
			DisableCompression:     true, // the shapes say what they accept
			ForceAttemptHTTP2:      true,
			MaxConnsPerHost:        atOnce,
			Proxy:                  http.ProxyFromEnvironment,
		},
	}
}

// ask asks for one file. It reads no more than limit bytes, and one to notice more.
func (h *host) ask(ctx context.Context, s shape, file, app string, limit int) (answer, error) {
	a := answer{file: file, shape: s.name}
	early := 0 // an interim answer, whose Link headers some browsers follow
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		early = code
		return nil
	}})
	q, err := http.NewRequestWithContext(traced, http.MethodGet, h.origin+file, nil)
	if err != nil {
		return a, uncheckedf("%w", err)
	}
	q.Header = s.header(file, app)
	h.mu.Lock()
	h.requests++
	h.mu.Unlock()
	response, err := h.client.Do(q)
	if err != nil {
		return a, uncheckedf("%s, asked for %s: %w", file, s.name, withoutURL(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		got := fmt.Sprintf("%d", response.StatusCode)
		if to := response.Header.Get("Location"); to != "" {
			got += fmt.Sprintf(" to %q", Clip(to))
		}
		return a, &Difference{File: file, Shape: s.name, What: "status", Got: got, Want: "200, for a file that the manifest lists"}
	}
	if early != 0 {
		return a, &Difference{File: file, Shape: s.name, What: "status", Got: fmt.Sprintf("%d before 200", early), Want: "200 alone"}
	}
	a.header = response.Header
	coding, err := codingOf(q, response)
	if err != nil {
		return a, &Difference{File: file, Shape: s.name, What: "header Content-Encoding", Got: err.Error(), Want: "one that was offered"}
	}
	a.content, err = readDecoded(coding, response.Body, limit)
	switch {
	case ctx.Err() != nil:
		return a, &unchecked{context.Cause(ctx)}
	case err != nil && !errors.Is(err, io.EOF):
		return a, &Difference{File: file, Shape: s.name, What: "body", Got: fmt.Sprintf("%q after %d bytes", Clip(err.Error()), len(a.content)), Want: fmt.Sprintf("%d bytes", limit)}
	}
	return a, nil
}

// codingOf returns the content coding of an answer. A browser that was sent one
// that it did not offer gets garbage.
func codingOf(q *http.Request, response *http.Response) (string, error) {
	values := response.Header.Values("Content-Encoding")
	if len(values) == 0 {
		return "", nil
	}
	coding := strings.ToLower(values[0])
	for offered := range strings.SplitSeq(q.Header.Get("Accept-Encoding"), ",") {
		if len(values) == 1 && strings.TrimSpace(offered) == coding {
			return coding, nil
		}
	}
	return "", fmt.Errorf("%q", Clip(strings.Join(values, ", ")))
}

func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// Clip shortens what a host sent, for people to look at.
func Clip(s string) string { return s[:min(len(s), 200)] }

// allowed are headers of transport and caches that change nothing that a browser
// does with a release. Whatever else a host sends is a difference: new headers
// that change more are invented every year.
var allowed = []string{
	"Accept-Ranges", "Age", "Cache-Status", "Cf-Cache-Status", "Cf-Ray", "Connection", "Content-Encoding", "Content-Length", "Date", "Etag", "Expires",
	"Fly-Request-Id", "Keep-Alive", "Last-Modified", "Server", "Strict-Transport-Security", "Transfer-Encoding", "Vary", "Via", "X-Cache", "X-Cache-Hits",
	"X-Nf-Request-Id", "X-Served-By", "X-Timer", "X-Vercel-Cache", "X-Vercel-Id",
}

// altSvc is tolerated and told: it sends browsers over another protocol, or to
// another address, where this program does not look.
const altSvc = "Alt-Svc"

// token is the name of a header (RFC 9110 section 5.6.2). Go keeps "Refresh " as
// it came; browsers take it for "Refresh".
var token = regexp.MustCompile("\\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\\z")

// compareHeaders returns a difference unless the headers are exactly those of
// the manifest, each once, and none that could change what a browser does.
func (h *host) compareHeaders(a answer, want release.Headers) error {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		got := a.header.Values(name)
		if len(got) != 1 || got[0] != want[name] {
			return &Difference{File: a.file, Shape: a.shape, What: "header " + name, Got: fmt.Sprintf("%q", got), Want: fmt.Sprintf("%q", want[name])}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.header)) {
		_, wanted := want[headerName(want, name)]
		switch {
		case name == altSvc:
			h.mu.Lock()
			h.altSvc = true
			h.mu.Unlock()
		case !token.MatchString(name) || !wanted && !slices.Contains(allowed, name):
			return &Difference{File: a.file, Shape: a.shape, What: "header " + nameOf(name), Got: fmt.Sprintf("%q", Clip(strings.Join(a.header[name], ", "))), Want: "none"}
		}
	}
	return nil
}

func nameOf(header string) string {
	if token.MatchString(header) {
		return header
	}
	return fmt.Sprintf("%q", Clip(header))
}

// headerName returns the name that want spells like name.
func headerName(want release.Headers, name string) string {
	for other := range want {
		if strings.EqualFold(other, name) {
			return other
		}
	}
	return ""
}
