package release

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

var deployment = Deployment{FrameAncestors: []string{"https://b.example", "https://a.example:8443", "https://b.example"}}

func TestCheckAncestor(t *testing.T) {
	for _, good := range []string{
		"https://app.example", "http://127.0.0.1:8080", "http://localhost:1", "https://*.app.example", "https://xn--bcher-kva.example", "https://a", "https://a-b.c:65535",
	} {
		if err := checkAncestor(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "*", "'self'", "'none'", "app.example", "https://", "https://app.example/", "https://app.example/x", "https://app.example?x", "https://app.example#x",
		"https://u@app.example", "https://app.example:443", "http://app.example:80", "https://app.example:", "https://app.example:0", "https://app.example:099999",
		"https://App.example", "https://b\u00fccher.example", "https://[::1]:80", "https://app.example; script-src *", "https://a.example https://b.example",
		"https://a.example,https://b.example", "https://a.example\n", "ftp://app.example", "javascript:alert(1)", "https://*.example", "https://*", "https://a.*.example", "https://-a.example", "https://a..b",
	} {
		if err := checkAncestor(bad); err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
	if checkOrigin("https://*.app.example") == nil {
		t.Error("a pattern passes for an origin")
	}
	if (Deployment{Origin: "https://kms.example/"}).Check() == nil {
		t.Error("a public origin with a path: accepted")
	}
}

// FuzzCheckAncestor: what is accepted cannot end its source, its directive or
// its header.
func FuzzCheckAncestor(f *testing.F) {
	f.Add("https://app.example")
	f.Add("https://*.app.example:8443")
	f.Add("https://a;b")
	f.Fuzz(func(t *testing.T, s string) {
		if checkAncestor(s) != nil {
			return
		}
		if strings.ContainsAny(s, " ;,'\"\r\n\t\\/?#@") && strings.Count(s, "/") != 2 || s != strings.ToLower(s) {
			t.Errorf("%q accepted", s)
		}
	})
}

// TestHeaders compares with the table of docs/hosting.md, written out.
func TestHeaders(t *testing.T) {
	r := fake(t, "m")
	all, err := r.Headers(deployment)
	if err != nil {
		t.Fatal(err)
	}
	csp := r.Policy + "; frame-ancestors https://a.example:8443 https://b.example; require-trusted-types-for 'script'; trusted-types enclave"
	for i, f := range r.Contents() {
		h := all[f.Name]
		want := map[string]string{
			"Content-Security-Policy": csp, "Cross-Origin-Resource-Policy": "cross-origin", "Cross-Origin-Embedder-Policy": "require-corp",
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Access-Control-Allow-Origin": "*",
			"Access-Control-Expose-Headers": "Content-Security-Policy", "Connection-Allowlist": "(response-origin)",
			"Cache-Control": []string{"no-store", immutable, immutable, immutable}[i],
			"Content-Type":  []string{"text/html; charset=utf-8", "text/javascript; charset=utf-8", "application/wasm", "application/json"}[i],
		}
		for name, value := range want {
			if h[name] != value {
				t.Errorf("%s: %s: %q, %q wanted", f.Name, name, h[name], value)
			}
		}
		for name, value := range h {
			if strings.ContainsAny(value, "\r\n") || value == "" {
				t.Errorf("%s: %s: %q", f.Name, name, value)
			}
		}
		if len(h) != len(want)+1 || h["Permissions-Policy"] == "" {
			t.Errorf("%s: %d headers", f.Name, len(h))
		}
	}
	nobody, err := r.Headers(Deployment{Origin: "https://kms.example"})
	if err != nil {
		t.Fatal(err)
	}
	page := nobody["kms.html"]
	if !strings.Contains(page["Content-Security-Policy"], "; frame-ancestors 'none'; ") {
		t.Errorf("without ancestors: %q", page["Content-Security-Policy"])
	}
	if want := `("https://kms.example` + r.Path + r.Files[1].Name + `")`; page["Connection-Allowlist"] != want {
		t.Errorf("Connection-Allowlist %q, %q wanted", page["Connection-Allowlist"], want)
	}
}

// TestHandler: the files, with their headers, and nothing else.
func TestHandler(t *testing.T) {
	r := fake(t, "module")
	deployed, err := r.Deploy(deployment)
	if err != nil {
		t.Fatal(err)
	}
	older, err := fake(t, "older").Deploy(Deployment{})
	if err != nil {
		t.Fatal(err)
	}
	handler := Handler(deployed, older)
	headers, err := r.Headers(deployment)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, target string) *http.Response {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(method, target, nil))
		return w.Result()
	}
	for _, f := range r.Contents() {
		got := ask("GET", r.Path+f.Name)
		body, err := io.ReadAll(got.Body)
		if err != nil || got.StatusCode != 200 || string(body) != string(f.Content) {
			t.Errorf("%s: %d, %d bytes, %v", f.Name, got.StatusCode, len(body), err)
		}
		for name, value := range headers[f.Name] {
			if got.Header.Get(name) != value {
				t.Errorf("%s: %s: %q, %q wanted", f.Name, name, got.Header.Get(name), value)
			}
		}
		if got := ask("HEAD", r.Path+f.Name); got.StatusCode != 200 || got.ContentLength != int64(len(f.Content)) {
			t.Errorf("HEAD %s: %d, %d bytes", f.Name, got.StatusCode, got.ContentLength)
		}
	}
	// The SDK in particular is nothing that an app could import from here.
	for _, target := range []string{"/kms.html", r.Path, "/r/", "/sdk/kms.js", "/_headers", "/r/../r/x", r.Page() + "/", "/R" + r.Page()[2:], "/sw.js", "/favicon.ico", "//" + r.Page()[1:]} {
		got := ask("GET", target)
		if got.StatusCode != 404 {
			t.Errorf("%s: %d", target, got.StatusCode)
		}
		if csp := got.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "sandbox") {
			t.Errorf("%s: policy %q", target, csp)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE"} {
		if got := ask(method, r.Page()); got.StatusCode != 405 || got.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, got.StatusCode)
		}
	}
	about := ask("GET", "/")
	body, _ := io.ReadAll(about.Body)
	if about.StatusCode != 200 || !strings.Contains(string(body), r.Measurement) || !strings.HasPrefix(about.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("/: %d %s", about.StatusCode, body)
	}
	for target, want := range map[string][]byte{
		"/manifest.json": deployed.ManifestText, r.Path + "manifest.json": deployed.ManifestText, older.Release.Path + "manifest.json": older.ManifestText,
		older.Release.Page(): older.Release.Contents()[0].Content,
	} {
		got := ask("GET", target)
		if body, err := io.ReadAll(got.Body); err != nil || got.StatusCode != 200 || !bytes.Equal(body, want) || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, %d bytes, %v", target, got.StatusCode, len(body), err)
		}
	}
	if _, err := r.Deploy(Deployment{FrameAncestors: []string{"*"}}); err == nil {
		t.Error("anybody may embed: accepted")
	}
}
