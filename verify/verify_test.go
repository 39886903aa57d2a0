package verify

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/kms-enclave/kms-enclave/internal/sourcetest"
	"github.com/kms-enclave/kms-enclave/release"
)

// built is the real release of this source, made once.
var built = sync.OnceValues(func() (*release.Deployed, error) {
	r, err := release.Build(context.Background(), release.Options{Source: "..", Version: "1.2.3"})
	if err != nil {
		return nil, err
	}
	return r.Deploy(release.Deployment{FrameAncestors: []string{"https://app.example"}})
})

func deployed(t testing.TB) *release.Deployed {
	t.Helper()
	d, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// lie changes what a host answers; it returns false to let the honest answer through.
type lie func(w http.ResponseWriter, q *http.Request, honest *httptest.ResponseRecorder) bool

// serve serves the release; honest answers pass through every lie.
func serve(t testing.TB, tell lie) (origin string) {
	t.Helper()
	honest := release.Handler(deployed(t))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r := httptest.NewRecorder()
		honest.ServeHTTP(r, q)
		if tell != nil && tell(w, q, r) {
			return
		}
		pass(w, r.Code, r.Header(), r.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func pass(w http.ResponseWriter, code int, h http.Header, body []byte) {
	maps.Copy(w.Header(), h)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	w.Write(body)
}

func check(t *testing.T, target string, o Options) Report {
	t.Helper()
	report, err := URL(t.Context(), target, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestHonestHost(t *testing.T) {
	origin := serve(t, nil)
	d := deployed(t)
	for _, target := range []string{origin, origin + "/", origin + d.Release.Path, origin + d.Release.Page()} {
		r := check(t, target, Options{Measurement: d.Release.Measurement})
		if r.Verdict != Verified || r.Requests < 20 || len(r.Proved) < 2 || len(r.NotProved) < 3 {
			t.Errorf("%s: %+v", target, r)
		}
		if len(r.Releases) != 1 || r.Releases[0].Measurement != d.Release.Measurement || r.Releases[0].Pin != d.Release.Pin() {
			t.Errorf("%s: %+v", target, r.Releases)
		}
	}
}

// TestCompressingHost: what is compared is what the coding decodes to.
func TestCompressingHost(t *testing.T) {
	encode := map[string]func(io.Writer) io.WriteCloser{
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"br":   func(w io.Writer) io.WriteCloser { return brotli.NewWriterLevel(w, 1) },
		"zstd": func(w io.Writer) io.WriteCloser {
			z, _ := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest))
			return z
		},
	}
	for coding, writer := range encode {
		var used atomic.Int32
		origin := serve(t, func(w http.ResponseWriter, q *http.Request, honest *httptest.ResponseRecorder) bool {
			if !strings.Contains(q.Header.Get("Accept-Encoding"), coding) || honest.Code != 200 {
				return false
			}
			used.Add(1)
			var b bytes.Buffer
			c := writer(&b)
			c.Write(honest.Body.Bytes())
			c.Close()
			honest.Header().Set("Content-Encoding", coding)
			pass(w, 200, honest.Header(), b.Bytes())
			return true
		})
		if r := check(t, origin, Options{}); r.Verdict != Verified || used.Load() == 0 {
			t.Errorf("%s, used %d times: %+v", coding, used.Load(), r)
		}
	}
}

// only is a condition on requests.
type only func(q *http.Request) bool

func file(suffix string) only {
	return func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, suffix) }
}

func header(name, part string) only {
	return func(q *http.Request) bool { return strings.Contains(q.Header.Get(name), part) }
}

// TestLyingHosts: each lie is noticed, is told as what it is, and is told once at least.
func TestLyingHosts(t *testing.T) {
	body := func(change func([]byte) []byte) lie {
		return func(w http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) bool {
			pass(w, honest.Code, honest.Header(), change(honest.Body.Bytes()))
			return true
		}
	}
	flip := func(at int) lie {
		return body(func(b []byte) []byte {
			b = bytes.Clone(b)
			b[(at+len(b))%len(b)] ^= 1
			return b
		})
	}
	set := func(name, value string) lie {
		return func(_ http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) bool {
			honest.Header().Set(name, value)
			return false
		}
	}
	without := func(name string) lie {
		return func(_ http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) bool {
			honest.Header().Del(name)
			return false
		}
	}
	add := func(name, value string) lie {
		return func(_ http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) bool {
			honest.Header().Add(name, value)
			return false
		}
	}
	answer := func(code int, headers ...string) lie {
		return func(w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder) bool {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	manifest := func(change func(string) string) lie {
		return body(func(b []byte) []byte { return []byte(change(string(b))) })
	}
	for name, test := range map[string]struct {
		when only
		lie  lie
		what string // of the difference; "" if it cannot be checked
		got  string // part of it
	}{
		"page, first byte":        {file(".html"), flip(0), "bytes", "sha384-"},
		"loader, last byte":       {file(".js"), flip(-1), "bytes", "sha384-"},
		"module, middle byte":     {file(".wasm"), flip(3_000_000), "bytes", "sha384-"},
		"SBOM":                    {file(".cdx.json"), flip(10), "bytes", "sha384-"},
		"page for frames only":    {header("Sec-Fetch-Dest", "iframe"), flip(0), "bytes", "sha384-"},
		"loader for scripts only": {header("Sec-Fetch-Dest", "script"), flip(0), "bytes", "sha384-"},
		"module for the SDK only": {func(q *http.Request) bool { return file(".wasm")(q) && header("Sec-Fetch-Mode", "cors")(q) }, flip(0), "bytes", "sha384-"},
		"for Firefox only":        {header("User-Agent", "Firefox"), flip(0), "bytes", "sha384-"},
		"for Safari only": {func(q *http.Request) bool {
			return header("User-Agent", "Safari")(q) && !header("User-Agent", "Chrome")(q)
		}, flip(0), "bytes", "sha384-"},
		"for plain requests only":      {func(q *http.Request) bool { return header("User-Agent", "curl")(q) && !file("/manifest.json")(q) }, flip(0), "bytes", "sha384-"},
		"for browsers with zstd only":  {header("Accept-Encoding", "zstd"), flip(0), "bytes", "sha384-"},
		"truncated":                    {file(".wasm"), body(func(b []byte) []byte { return b[:len(b)-1] }), "size", "bytes"},
		"one byte more":                {file(".js"), body(func(b []byte) []byte { return append(bytes.Clone(b), '\n') }), "size", "more than"},
		"empty":                        {file(".js"), body(func([]byte) []byte { return nil }), "size", "0 bytes"},
		"endless":                      {file(".wasm"), endless, "size", "more than"},
		"compressed bomb":              {func(q *http.Request) bool { return file(".js")(q) && header("Accept-Encoding", "gzip")(q) }, bomb, "size", "more than"},
		"garbage for gzip":             {func(q *http.Request) bool { return file(".js")(q) && header("Accept-Encoding", "gzip")(q) }, set("Content-Encoding", "gzip"), "body", "gzip"},
		"coding that nobody asked for": {file(".js"), set("Content-Encoding", "compress"), "header Content-Encoding", "compress"},
		"zstd for those who cannot":    {func(q *http.Request) bool { return file(".js")(q) && !header("Accept-Encoding", "zstd")(q) }, set("Content-Encoding", "zstd"), "header Content-Encoding", "zstd"},
		"two codings": {file(".js"), func(_ http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) bool {
			honest.Header()["Content-Encoding"] = []string{"identity", "gzip"}
			return false
		}, "header Content-Encoding", "gzip"},
		"two members of gzip":            {func(q *http.Request) bool { return file(".html")(q) && header("Accept-Encoding", "gzip")(q) }, twoMembers, "body", "follows the compressed text"},
		"a header nobody has heard of":   {file(".html"), set("Move-Fast", "1"), "header Move-Fast", "1"},
		"a name with a space behind it":  {file(".html"), spaced("Refresh"), "header", "0;url=/evil"},
		"a spaced policy":                {file(".html"), spaced("Content-Security-Policy"), "header", "0;url=/evil"},
		"another page and its manifest":  {func(q *http.Request) bool { return file(".html")(q) || file("manifest.json")(q) }, otherPage, "page", "not the page that starts the loader"},
		"breaks off":                     {file(".wasm"), breakOff, "body", "unexpected EOF"},
		"redirect":                       {file(".html"), answer(302, "Location", "https://evil.example/\u009b2J"), "status", `302 to "https://evil.example/`},
		"early hints":                    {file(".html"), hints, "status", "103"},
		"not found":                      {file(".wasm"), answer(404), "status", "404"},
		"server error":                   {file(".js"), answer(500), "status", "500"},
		"no content":                     {file(".js"), answer(204), "status", "204"},
		"another content type":           {file(".wasm"), set("Content-Type", "application/octet-stream"), "header Content-Type", "octet-stream"},
		"another charset":                {file(".js"), set("Content-Type", "text/javascript; charset=shift_jis"), "header Content-Type", "shift_jis"},
		"no policy":                      {file(".html"), without("Content-Security-Policy"), "header Content-Security-Policy", "[]"},
		"no policy for frames":           {header("Sec-Fetch-Dest", "iframe"), without("Content-Security-Policy"), "header Content-Security-Policy", "[]"},
		"a second policy":                {file(".html"), add("Content-Security-Policy", "img-src *; report-uri /x"), "header Content-Security-Policy", "report-uri"},
		"a policy that only reports":     {file(".html"), set("Content-Security-Policy-Report-Only", "default-src 'none'; report-uri /x"), "header Content-Security-Policy-Report-Only", "report-uri"},
		"reporting endpoints":            {file(".html"), set("Reporting-Endpoints", `default="/x"`), "header Reporting-Endpoints", "default"},
		"network error logging":          {file(".wasm"), set("NEL", "{}"), "header Nel", "{}"},
		"a cookie":                       {file(".html"), set("Set-Cookie", "id=1"), "header Set-Cookie", "id=1"},
		"a link":                         {file(".html"), set("Link", "</x.js>; rel=preload"), "header Link", "preload"},
		"Refresh":                        {file(".html"), set("Refresh", "0; url=/evil"), "header Refresh", "evil"},
		"Clear-Site-Data":                {file(".js"), set("Clear-Site-Data", `"*"`), "header Clear-Site-Data", "*"},
		"Service-Worker-Allowed":         {file(".js"), set("Service-Worker-Allowed", "/"), "header Service-Worker-Allowed", "/"},
		"cacheable page":                 {file(".html"), set("Cache-Control", "public, max-age=60"), "header Cache-Control", "max-age=60"},
		"nosniff missing":                {file(".js"), without("X-Content-Type-Options"), "header X-Content-Type-Options", "[]"},
		"anybody may embed":              {file(".html"), set("Content-Security-Policy", "default-src *"), "header Content-Security-Policy", "default-src *"},
		"no manifest":                    {file("manifest.json"), answer(404), "status", "404"},
		"manifest truncated":             {file("manifest.json"), manifest(func(s string) string { return s[:len(s)-3] }), "manifest", "ends too early"},
		"manifest not canonical":         {file("manifest.json"), manifest(func(s string) string { return s + "\n" }), "manifest", "canonical"},
		"manifest names a path outside":  {file("manifest.json"), manifest(func(s string) string { return strings.Replace(s, `"path":"/r/`, `"path":"/../r/`, 1) }), "manifest", "outside"},
		"manifest of looser headers":     {file("manifest.json"), manifest(func(s string) string { return strings.ReplaceAll(s, "no-referrer", "unsafe-url") }), "manifest", "contradicts"},
		"manifest with escape sequences": {file("manifest.json"), manifest(func(s string) string { return strings.Replace(s, `"1.2.3"`, `"1\u001b[2J"`, 1) }), "manifest", "contradicts"},
		"manifest too large":             {file("manifest.json"), endless, "manifest", "more than"},
		"manifest of a newer form":       {file("manifest.json"), manifest(func(s string) string { return strings.Replace(s, `"schema":1`, `"schema":2`, 1) }), "", "newer form"},
		"another manifest for browsers":  {func(q *http.Request) bool { return file("manifest.json")(q) && !header("User-Agent", "curl")(q) }, flip(100), "bytes", "sha384-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var told atomic.Int32
			origin := serve(t, func(w http.ResponseWriter, q *http.Request, honest *httptest.ResponseRecorder) bool {
				if !test.when(q) {
					return false
				}
				told.Add(1)
				return test.lie(w, q, honest)
			})
			began := time.Now()
			r := check(t, origin+deployed(t).Release.Page(), Options{Timeout: 20 * time.Second})
			switch {
			case told.Load() == 0:
				t.Error("the lie was never told")
			case test.what == "" && (r.Verdict != Unchecked || !strings.Contains(r.Problem, test.got)):
				t.Errorf("%s, %q, %v", r.Verdict, r.Problem, r.Difference)
			case test.what != "" && (r.Verdict != Different || !strings.HasPrefix(r.Difference.What, test.what) || !strings.Contains(r.Difference.Got, test.got)):
				t.Errorf("%s, %q, %v", r.Verdict, r.Problem, r.Difference)
			}
			if text := fmt.Sprint(r); strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\n' || c == 0x7f }) {
				t.Errorf("a control character got through: %q", text)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

var endlessBytes atomic.Int64

// endless sends zeros until the other side has enough of them.
func endless(w http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) bool {
	for name, values := range honest.Header() {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	chunk := make([]byte, 1<<20)
	for range 4096 {
		n, err := w.Write(chunk)
		endlessBytes.Add(int64(n))
		if err != nil {
			break
		}
	}
	return true
}

// bomb is a gigabyte, compressed.
func bomb(w http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) bool {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, 1)
	chunk := make([]byte, 1<<20)
	for range 256 {
		z.Write(chunk)
	}
	z.Close()
	honest.Header().Set("Content-Encoding", "gzip")
	pass(w, 200, honest.Header(), b.Bytes())
	return true
}

// twoMembers splits the text: browsers take the first half alone.
func twoMembers(w http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) bool {
	var b bytes.Buffer
	text := honest.Body.Bytes()
	for _, half := range [][]byte{text[:len(text)/2], text[len(text)/2:]} {
		z := gzip.NewWriter(&b)
		z.Write(half)
		z.Close()
	}
	honest.Header().Set("Content-Encoding", "gzip")
	pass(w, 200, honest.Header(), b.Bytes())
	return true
}

// spaced sends a header with a space before its colon, which browsers forgive.
func spaced(name string) lie {
	return func(w http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) bool {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return false
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s : 0;url=/evil\r\nConnection: close\r\nContent-Length: %d\r\n", name, honest.Body.Len())
		honest.Header().Write(conn)
		fmt.Fprintf(conn, "\r\n%s", honest.Body.Bytes())
		return true
	}
}

// otherPage serves a page of its own, and a manifest that fits it.
func otherPage(w http.ResponseWriter, q *http.Request, honest *httptest.ResponseRecorder) bool {
	d, err := built()
	if err != nil {
		return false
	}
	was := d.Release.Contents()[0].Content
	page := append(bytes.Clone(was), `<meta http-equiv="refresh" content="0;url=/evil.html">`...)
	text := page
	if strings.HasSuffix(q.URL.Path, ".json") {
		text = bytes.Replace(d.ManifestText, []byte(release.Integrity(was)), []byte(release.Integrity(page)), 1)
		text = bytes.Replace(text, []byte(fmt.Sprintf(`"size":%d`, len(was))), []byte(fmt.Sprintf(`"size":%d`, len(page))), 1)
	}
	pass(w, 200, honest.Header(), text)
	return true
}

// hints sends an interim answer with a link.
func hints(w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder) bool {
	w.Header().Set("Link", "</evil.js>; rel=preload; as=script")
	w.WriteHeader(http.StatusEarlyHints)
	w.Header().Del("Link")
	return false
}

// breakOff promises more than it sends.
func breakOff(w http.ResponseWriter, _ *http.Request, honest *httptest.ResponseRecorder) bool {
	maps.Copy(w.Header(), honest.Header())
	w.Header().Set("Content-Length", strconv.Itoa(honest.Body.Len()))
	w.Write(honest.Body.Bytes()[:1000])
	return true
}

// TestEndlessIsBounded: of gigabytes no more is read than a file may have, and
// what the network buffers.
func TestEndlessIsBounded(t *testing.T) {
	endlessBytes.Store(0)
	origin := serve(t, func(w http.ResponseWriter, q *http.Request, honest *httptest.ResponseRecorder) bool {
		return strings.HasSuffix(q.URL.Path, ".wasm") && endless(w, q, honest)
	})
	if r := check(t, origin, Options{}); r.Verdict != Different {
		t.Errorf("%+v", r)
	}
	if got := endlessBytes.Load(); got > 200<<20 {
		t.Errorf("%d bytes were taken from an endless answer", got)
	}
}

// TestStallingHosts: a host that does not go on ends the check, in time.
func TestStallingHosts(t *testing.T) {
	for name, stall := range map[string]lie{
		"before the headers": func(_ http.ResponseWriter, q *http.Request, _ *httptest.ResponseRecorder) bool {
			<-q.Context().Done()
			return true
		},
		"in the middle": func(w http.ResponseWriter, q *http.Request, honest *httptest.ResponseRecorder) bool {
			w.Header().Set("Content-Length", strconv.Itoa(honest.Body.Len()))
			w.Write(honest.Body.Bytes()[:10])
			w.(http.Flusher).Flush()
			<-q.Context().Done()
			return true
		},
	} {
		origin := serve(t, func(w http.ResponseWriter, q *http.Request, honest *httptest.ResponseRecorder) bool {
			return strings.HasSuffix(q.URL.Path, ".js") && stall(w, q, honest)
		})
		began := time.Now()
		r := check(t, origin, Options{Timeout: time.Second})
		if r.Verdict != Unchecked || !strings.Contains(r.Problem, "within 1s") || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %v after %v: %q", name, r.Verdict, time.Since(began), r.Problem)
		}
	}
}

func TestUnreachableHost(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	if r := check(t, server.URL, Options{}); r.Verdict != Unchecked || r.Problem == "" {
		t.Errorf("%+v", r)
	}
}

func TestOtherMeasurement(t *testing.T) {
	other := strings.Repeat("0", 96)
	if r := check(t, serve(t, nil), Options{Measurement: other}); r.Verdict != Different || r.Difference.What != "measurement" {
		t.Errorf("%+v", r)
	}
}

func TestCheckTarget(t *testing.T) {
	hex := strings.Repeat("a", 32)
	for _, good := range []string{
		"https://kms.example", "https://kms.example/", "https://kms.example:8443/r/" + hex + "/", "https://kms.example/r/" + hex + "/kms.html",
		"http://localhost:1", "http://127.0.0.1:1/", "http://[::1]:1/", "http://kms.localhost/",
	} {
		if _, err := CheckTarget(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "kms.example", "https://", "http://kms.example", "ftp://kms.example", "https://u:p@kms.example/", "https://kms.example/?x", "https://kms.example/#x",
		"https://kms.example/r/" + hex, "https://kms.example/r/" + hex + "/x.html", "https://kms.example/r/../" + hex + "/kms.html", "https://kms.example/sdk/",
		"https://kms.example/r/" + strings.ToUpper(hex) + "/", "https://kms.example/%72/" + hex + "/?", "file:///etc/passwd", "https://kms.example\x1b/",
	} {
		if u, err := CheckTarget(bad); err == nil {
			t.Errorf("%q: accepted as %v", bad, u)
		}
	}
}

// directory returns a directory with the release, compressed forms included.
func directory(t *testing.T) (dir, inside string) {
	t.Helper()
	d := deployed(t)
	dir = t.TempDir()
	quick := func(f release.File) ([]release.File, error) {
		if f.Name != d.Release.Files[1].Name {
			return nil, nil // the module takes brotli ten seconds
		}
		return release.Compress(f)
	}
	if err := release.Write(dir, d, quick); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, filepath.FromSlash(d.Release.Path))
}

// TestDirectories: what is not as the manifest says is named.
func TestDirectories(t *testing.T) {
	d := deployed(t)
	loader, module := d.Release.Files[1].Name, d.Release.Files[2].Name
	dir, _ := directory(t)
	if r := Dir(t.Context(), dir, Options{}); r.Verdict != Verified || len(r.Releases) != 1 {
		t.Fatalf("%+v", r)
	}
	edit := func(name string, change func([]byte) []byte) func(string, string) error {
		return func(_, inside string) error {
			text, err := os.ReadFile(filepath.Join(inside, name))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(inside, name), change(text), 0o600)
		}
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	for name, test := range map[string]struct {
		spoil func(dir, inside string) error
		what  string
	}{
		"flipped byte in the module": {edit(module, flip), "bytes"},
		"truncated loader":           {edit(loader, func(b []byte) []byte { return b[:len(b)-1] }), "size"},
		"page missing":               {func(_, inside string) error { return os.Remove(filepath.Join(inside, "kms.html")) }, "file"},
		"another file": {func(_, inside string) error {
			return os.WriteFile(filepath.Join(inside, "evil.html"), []byte("x"), 0o600)
		}, "file"},
		"another file at the top": {func(dir, _ string) error { return os.WriteFile(filepath.Join(dir, "sw.js"), []byte("x"), 0o600) }, "file"},
		"another compressed form": {edit(loader+".gz", func([]byte) []byte {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write([]byte("evil"))
			z.Close()
			return b.Bytes()
		}), "size"},
		"broken compressed form": {edit(loader+".br", func(b []byte) []byte { return b[:10] }), "compression"},
		"manifest missing":       {func(_, inside string) error { return os.Remove(filepath.Join(inside, "manifest.json")) }, "file"},
		"manifest edited":        {edit("manifest.json", func(b []byte) []byte { return append(b, ' ') }), "manifest"},
		"another newest manifest": {func(dir, _ string) error {
			return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte("{}"), 0o600)
		}, "manifest"},
		"no newest manifest": {func(dir, _ string) error { return os.Remove(filepath.Join(dir, "manifest.json")) }, "file"},
		"looser header for nginx": {func(dir, _ string) error {
			return edit("nginx.conf", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("nosniff"), []byte("x")) })("", dir)
		}, "bytes"},
		"another directory": {func(_, inside string) error {
			return os.Rename(inside, filepath.Join(filepath.Dir(inside), strings.Repeat("0", 32)))
		}, "path"},
		"a directory that is none": {func(_, inside string) error {
			return os.Mkdir(filepath.Join(filepath.Dir(inside), "\x1b[31mX\xff"), 0o700)
		}, "file"},
	} {
		dir, inside := directory(t)
		if err := test.spoil(dir, inside); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r := Dir(t.Context(), dir, Options{}); r.Verdict != Different || r.Difference.What != test.what {
			t.Errorf("%s: %s %v %s", name, r.Verdict, r.Difference, r.Problem)
		}
	}
	if r := Dir(t.Context(), dir, Options{Measurement: d.Release.Measurement}); r.Verdict != Verified || !strings.Contains(strings.Join(r.Proved, " "), "measurement that you gave") {
		t.Errorf("%+v", r)
	}
	if r := Dir(t.Context(), dir, Options{Measurement: strings.Repeat("0", 96)}); r.Verdict != Different || r.Difference.What != "measurement" {
		t.Errorf("%+v", r)
	}
	// Nothing to compare is not a success.
	for name, dir := range map[string]string{"an empty directory": t.TempDir(), "no directory": filepath.Join(t.TempDir(), "x")} {
		if r := Dir(t.Context(), dir, Options{}); r.Verdict != Unchecked {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestRebuild: the source's own build is what is served; of a changed source it is not.
func TestRebuild(t *testing.T) {
	dir, _ := directory(t)
	r := Dir(t.Context(), dir, Options{Rebuild: ".."})
	if r.Verdict != Verified || !slices.ContainsFunc(r.Proved, func(s string) bool { return strings.Contains(s, "is what the source") }) {
		t.Errorf("%+v", r)
	}
	changed := filepath.Join(t.TempDir(), "changed")
	sourcetest.Copy(t, "..", changed)
	worker := filepath.Join(changed, "web", "worker.js")
	text, err := os.ReadFile(worker)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(worker, append(text, "// changed\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	r = Dir(t.Context(), dir, Options{Rebuild: changed})
	if r.Verdict != Different || !strings.HasPrefix(r.Difference.What, "bytes from ") || !strings.HasSuffix(r.Difference.File, ".js") || !strings.Contains(r.Difference.Want, "as rebuilt") {
		t.Errorf("%+v %v", r, r.Difference)
	}
	if r := Dir(t.Context(), dir, Options{Rebuild: t.TempDir()}); r.Verdict != Unchecked || !strings.Contains(r.Problem, "rebuild") {
		t.Errorf("an empty source: %+v", r)
	}
	// With nothing on one side there is nothing equal.
	d := deployed(t)
	if err := compareBuilds(d.Release.Description, d.Release, map[string][]byte{}); err == nil {
		t.Error("a comparison of nothing passes")
	}
}

// TestTestBuild: a release with code that only tests may have is not verified,
// though its manifest says so itself.
func TestTestBuild(t *testing.T) {
	r := *deployed(t).Release
	r.Build.Tags = []string{"kmstest"}
	d, err := r.Deploy(release.Deployment{FrameAncestors: []string{"https://app.example"}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(release.Handler(d))
	t.Cleanup(server.Close)
	if report := check(t, server.URL, Options{}); report.Verdict != Different || report.Difference.What != "build.tags" {
		t.Errorf("%+v", report)
	}
}
