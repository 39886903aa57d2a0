package doctor

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/release"
)

var built = sync.OnceValues(func() (*release.Release, error) {
	return release.Build(context.Background(), release.Options{Source: "..", Version: "1.2.3"})
})

// patient is an app and its enclave. Its fields are what the app serves.
type patient struct {
	header map[string]string
	html   string
	files  map[string]string

	app, enclave string // origins
	release      *release.Release
}

// healthy is an app that does everything as docs/embedding.md says.
func healthy(t *testing.T) *patient {
	t.Helper()
	r, err := built()
	if err != nil {
		t.Fatal(err)
	}
	p := &patient{release: r, files: map[string]string{}}
	app := httptest.NewServer(p)
	t.Cleanup(app.Close)
	p.app = app.URL
	d, err := r.Deploy(release.Deployment{FrameAncestors: []string{p.app}})
	if err != nil {
		t.Fatal(err)
	}
	enclave := httptest.NewServer(release.Handler(d))
	t.Cleanup(enclave.Close)
	p.enclave = strings.Replace(enclave.URL, "127.0.0.1", "localhost", 1)

	p.html = `<!doctype html><script type="importmap">` + string(r.ImportMap("/sdk/")) + `</script><script type="module" src="/app.js"></script>`
	sum := sha256.Sum256(r.ImportMap("/sdk/"))
	p.header = map[string]string{
		"Content-Security-Policy": "default-src 'self'; script-src 'self' 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; frame-src " + p.enclave + r.Page() +
			" blob:; connect-src 'self' " + p.enclave + "; frame-ancestors 'none'",
		"Cross-Origin-Opener-Policy": "same-origin",
	}
	p.html = `<!doctype html><script type="importmap">` + string(r.ImportMap("/sdk/")) + `</script><script type="module" src="/app.js"></script>`
	p.files["/app.js"] = fmt.Sprintf(`import { connect } from "./sdk/kms.js"; connect({ url: %q, pin: { policy: %q, wasm: %q } });`, p.enclave+r.Page(), r.Policy, r.Wasm)
	for _, f := range r.SDK {
		text, err := os.ReadFile("../sdk/" + f.Name)
		if err != nil {
			t.Fatal(err)
		}
		p.files["/sdk/"+f.Name] = string(text)
	}
	return p
}

func (p *patient) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	text, ok := p.files[q.URL.Path]
	if q.URL.Path == "/" {
		text, ok = p.html, true
		w.Header().Set("Content-Type", "text/html")
	}
	if !ok {
		http.NotFound(w, q)
		return
	}
	for name, value := range p.header {
		w.Header().Set(name, value)
	}
	w.Write([]byte(text))
}

func (p *patient) examine(t *testing.T, o Options) Report {
	t.Helper()
	u, err := url.Parse(p.app + "/")
	if err != nil {
		t.Fatal(err)
	}
	return Examine(t.Context(), u, o)
}

func TestHealthyApp(t *testing.T) {
	p := healthy(t)
	r := p.examine(t, Options{})
	if r.Count(Bad)+r.Count(Warning) > 0 || r.Count(Good) < 7 || r.Problem != "" || r.Enclave != p.enclave+p.release.Page() {
		t.Errorf("%+v", r)
	}
}

// TestFindings: each fault alone has its own finding, and names what to do.
func TestFindings(t *testing.T) {
	for name, test := range map[string]struct {
		spoil        func(p *patient)
		grade, topic string
		says         string
	}{
		"no policy": {func(p *patient) { delete(p.header, "Content-Security-Policy") }, Warning, "csp", "no Content-Security-Policy"},
		"inline scripts": {func(p *patient) {
			p.header["Content-Security-Policy"] = strings.Replace(p.header["Content-Security-Policy"], "script-src 'self' ", "script-src 'self' 'unsafe-inline' ", 1)
		}, Warning, "csp", "inline scripts"},
		"no frame-src": {func(p *patient) {
			p.header["Content-Security-Policy"] = "default-src 'self'; connect-src " + p.enclave
		}, Bad, "frame-src", "blocks the enclave"},
		"no connect-src": {func(p *patient) {
			p.header["Content-Security-Policy"] = "default-src 'self'; frame-src " + p.enclave + p.release.Page()
		}, Bad, "connect-src", "blocks the enclave"},
		"frame-src of another port": {func(p *patient) {
			p.header["Content-Security-Policy"] = "script-src 'self'; frame-src http://localhost:1"
		}, Bad, "frame-src", "blocks the enclave"},
		"all frames allowed": {func(p *patient) {
			p.header["Content-Security-Policy"] = "script-src 'self'; frame-src *"
		}, Warning, "frame-src", "more than the enclave's page"},
		"no blobs": {func(p *patient) {
			p.header["Content-Security-Policy"] = strings.Replace(p.header["Content-Security-Policy"], " blob:;", ";", 1)
		}, Warning, "files", "saving backups in Firefox"},
		"policy in a meta element": {func(p *patient) {
			p.html = `<meta http-equiv="Content-Security-Policy" content="frame-src 'none'">` + p.html
		}, Bad, "frame-src", "blocks the enclave"},
		"no opener policy": {func(p *patient) { delete(p.header, "Cross-Origin-Opener-Policy") }, Warning, "opener", "can script the enclave's frame"},
		"no pin": {func(p *patient) {
			p.files["/app.js"] = fmt.Sprintf(`import "./sdk/kms.js"; connect({ url: %q });`, p.enclave+p.release.Page())
		}, Bad, "pin", "No pin"},
		"pin that Chromium ignores": {func(p *patient) {
			p.files["/app.js"] = strings.Replace(p.files["/app.js"], "default-src 'none'; ", `default-src 'none';\n `, 1)
		}, Bad, "pin", "ignores any other"},
		"pin of another release": {func(p *patient) {
			loader, _ := release.ParsePolicy(p.release.Policy)
			p.files["/app.js"] = strings.Replace(p.files["/app.js"], loader, "sha384-"+strings.Repeat("A", 64), 1)
		}, Bad, "pin", "will be refused"},
		"no hash of the module": {func(p *patient) { p.files["/app.js"] = strings.Replace(p.files["/app.js"], p.release.Wasm, "", 1) }, Bad, "pin", "do not hold the hash of the module"},
		"no enclave":            {func(p *patient) { p.files["/app.js"] = "" }, Bad, "enclave", "No address of a release"},
		"release that is not served": {func(p *patient) {
			p.files["/app.js"] = strings.Replace(p.files["/app.js"], p.release.Path, "/r/"+strings.Repeat("0", 32)+"/", 1)
			p.header["Content-Security-Policy"] = ""
		}, Bad, "host", "404"},
		"unsandboxed frame": {func(p *patient) { p.html += `<iframe src="https://ads.example/"></iframe>` }, Bad, "frames", "not sandboxed"},
		"frame sandboxed with same origin": {func(p *patient) {
			p.html += `<iframe src="https://ads.example/" sandbox="allow-scripts allow-same-origin"></iframe>`
		}, Bad, "frames", "not sandboxed"},
		"enclave embedded by hand":       {func(p *patient) { p.html += `<iframe src="` + p.enclave + `/"></iframe>` }, Warning, "frames", "by hand"},
		"SDK from the enclave's host":    {func(p *patient) { p.html += `<script type="module" src="` + p.enclave + `/sdk/kms.js"></script>` }, Bad, "sdk", "owns the app's origin"},
		"module from the enclave's host": {func(p *patient) { p.files["/app.js"] += `import("` + p.enclave + `/x.js")` }, Bad, "sdk", "owns the app's origin"},
		"script of another origin":       {func(p *patient) { p.html += `<script src="https://cdn.example/x.js"></script>` }, Warning, "scripts", "cdn.example"},
		"changed SDK":                    {func(p *patient) { p.files["/sdk/pin.js"] += "// changed\n" }, Warning, "sdk", "pin.js is not the SDK's"},
		"no import map":                  {func(p *patient) { p.html = `<script type="module" src="/app.js"></script>` }, Warning, "integrity", "No import map"},
		"import map blocked": {func(p *patient) {
			p.header["Content-Security-Policy"] = strings.Replace(p.header["Content-Security-Policy"], "'sha256-", "'sha256-A", 1)
		}, Bad, "integrity", "blocks its own import map"},
		"import map of another SDK": {func(p *patient) { p.files["/sdk/kms.js"] += "// changed\n" }, Bad, "integrity", "browser refuses"},
		"import map of nothing": {func(p *patient) {
			p.html = `<script type="importmap">{"integrity":{"/x.js":"sha384-x"}}</script><script type="module" src="/app.js"></script>`
			p.header["Content-Security-Policy"] = regexp.MustCompile(`'sha256-[^']*'`).ReplaceAllString(p.header["Content-Security-Policy"], "'unsafe-inline'")
		}, Warning, "integrity", "names no hash for"},
		"object": {func(p *patient) { p.html += `<object data="https://ads.example/"></object>` }, Bad, "frames", "not sandboxed"},
		"srcdoc": {func(p *patient) { p.html += `<iframe srcdoc="<p>"></iframe>` }, Bad, "frames", "not sandboxed"},
		"anybody embeds": {func(p *patient) {
			p.header["Content-Security-Policy"] = strings.Replace(p.header["Content-Security-Policy"], "; frame-ancestors 'none'", "", 1)
		}, Warning, "embedding", "who may embed the app"},
		"any page of the host": {func(p *patient) {
			p.header["Content-Security-Policy"] = strings.Replace(p.header["Content-Security-Policy"], p.release.Page(), "/r/", 1)
		}, Warning, "frame-src", "more than the enclave's page"},
		"escape sequences in what is served": {func(p *patient) { p.html += "<iframe src=\"https://ads.example/\x1b[2J\"></iframe>" }, Bad, "frames", "not sandboxed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := healthy(t)
			test.spoil(p)
			r := p.examine(t, Options{})
			found := false
			for _, f := range r.Findings {
				found = found || f.Grade == test.grade && f.Topic == test.topic && strings.Contains(f.What, test.says)
			}
			if !found {
				t.Errorf("%+v", r)
			}
			if strings.ContainsAny(fmt.Sprint(r), "\x1b\r") {
				t.Errorf("control characters: %q", fmt.Sprint(r))
			}
		})
	}
}

func TestOtherEmbedder(t *testing.T) {
	p := healthy(t)
	stranger := httptest.NewServer(p)
	t.Cleanup(stranger.Close)
	u, _ := url.Parse(stranger.URL + "/")
	r := Examine(t.Context(), u, Options{})
	if r.Count(Bad) != 1 || r.Findings[len(r.Findings)-1].Topic == "" {
		t.Errorf("%+v", r)
	}
	for _, f := range r.Findings {
		if f.Grade == Bad && (f.Topic != "frame-ancestors" || !strings.Contains(f.Do, "--frame-ancestors "+stranger.URL)) {
			t.Errorf("%+v", f)
		}
	}
}

func TestSameSite(t *testing.T) {
	p := healthy(t)
	u, _ := url.Parse(strings.Replace(p.app, "127.0.0.1", "localhost", 1) + "/")
	r := Examine(t.Context(), u, Options{})
	found := false
	for _, f := range r.Findings {
		found = found || f.Topic == "domain" && f.Grade == Warning
	}
	if !found {
		t.Errorf("%+v", r)
	}
	for host, want := range map[string]string{"a.b.example": "b.example", "kms.app.co.uk": "app.co.uk", "x.github.io": "x.github.io", "localhost": "localhost", "127.0.0.1": "127.0.0.1"} {
		if got := site(host); got != want {
			t.Errorf("%s: %s, %s wanted", host, got, want)
		}
	}
}

// TestUnreachableApps: no verdict, in bounded time.
func TestUnreachableApps(t *testing.T) {
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for range 1000 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	t.Cleanup(endless.Close)
	stalls := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }))
	t.Cleanup(stalls.Close)
	redirects := httptest.NewServer(http.RedirectHandler("https://evil.example/\u009b", http.StatusFound))
	t.Cleanup(redirects.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, test := range map[string]struct{ app, says string }{
		"endless": {endless.URL, "more than"}, "stalls": {stalls.URL, "did not answer everything"}, "redirects": {redirects.URL, "302, a redirect to"}, "gone": {gone.URL, "refused"},
	} {
		u, _ := url.Parse(test.app)
		r := Examine(t.Context(), u, Options{Timeout: 2 * time.Second})
		if !strings.Contains(r.Problem, test.says) || strings.ContainsAny(r.Problem, "\x1b\u009b") {
			t.Errorf("%s: %q", name, r.Problem)
		}
	}
}

func TestAllows(t *testing.T) {
	u, _ := url.Parse("https://kms.example/r/abc/kms.html")
	for sources, want := range map[string]bool{
		"*": true, "https:": true, "https://kms.example": true, "kms.example": true, "https://*.example": true, "https://kms.example/": true, "http://kms.example": true,
		"https://kms.example/r/abc/kms.html": true, "https://kms.example/r/": true, "https://kms.example:443": true, "https://kms.example:*": true, "'self' https://kms.example": true,
		"": false, "'none'": false, "'self'": false, "http:": false, "https://kms.example:8443": false, "https://example": false, "https://kms.example/r/abc": false, "https://other.example": false, "wss://kms.example": false,
	} {
		if got := allows(strings.Fields(sources), u); got != want {
			t.Errorf("%q: %v", sources, got)
		}
	}
}

func FuzzParsePolicies(f *testing.F) {
	f.Add("default-src 'self'; frame-src https://kms.example, img-src *")
	f.Add(";;,,")
	u, _ := url.Parse("https://kms.example/r/abc/kms.html")
	f.Fuzz(func(t *testing.T, text string) {
		for _, p := range parsePolicies([]string{text}) {
			if len(p) == 0 {
				t.Error("an empty policy")
			}
			if sources, ok := p.sources("frame-src"); ok {
				allows(sources, u)
			}
		}
	})
}
