package demo

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json/v2"
	"image/png"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kms-enclave/kms-enclave/doctor"
)

var config = Config{
	EnclaveURL:  "http://localhost:8443/r/0123456789abcdef0123456789abcdef/kms.html",
	Policy:      "default-src 'none'; script-src 'sha384-AAAA' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'none'",
	Wasm:        "sha384-BBBB",
	Measurement: strings.Repeat("0123456789abcdef", 6),
}

var sdk = fstest.MapFS{
	"kms.js":                     {Data: []byte("export {};\n")},
	"push.js":                    {Data: []byte("export {};\n")},
	"status.js":                  {Data: []byte("export {};\n")},
	"lib/port.js":                {Data: []byte("export {};\n")},
	"kms.d.ts":                   {Data: []byte("export {};\n")},
	"package.json":               {Data: []byte("{}\n")},
	"kms.test.js":                {Data: []byte("throw 1;\n")},
	"kms_test.js":                {Data: []byte("throw 1;\n")},
	"test/all.js":                {Data: []byte("throw 1;\n")},
	"lib/testdata/vectors.js":    {Data: []byte("throw 1;\n")},
	"node_modules/other/main.js": {Data: []byte("throw 1;\n")},
	".hidden.js":                 {Data: []byte("throw 1;\n")},
	".git/hook.js":               {Data: []byte("throw 1;\n")},
	"directory.js/file.txt":      {Data: []byte("text\n")},
}

// get asks the handler for a target exactly as written: nothing cleans it first.
func get(t *testing.T, handler http.Handler, method, target string, header http.Header) *http.Response {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1/", nil)
	request.URL.Path = target
	maps.Copy(request.Header, header)
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder.Result()
}

func body(t *testing.T, response *http.Response) string {
	t.Helper()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestEveryFileIsServedWithItsType(t *testing.T) {
	handler := Handler(config, sdk)
	want := map[string]string{
		"/":                               "text/html; charset=utf-8",
		"/index.html":                     "text/html; charset=utf-8",
		"/style.css":                      "text/css; charset=utf-8",
		"/app.js":                         "text/javascript; charset=utf-8",
		"/steps/vault.js":                 "text/javascript; charset=utf-8",
		"/service-worker.js":              "text/javascript; charset=utf-8",
		"/pin.js":                         "text/javascript; charset=utf-8",
		"/relays.js":                      "text/javascript; charset=utf-8",
		"/sdk/kms.js":                     "text/javascript; charset=utf-8",
		"/sdk/lib/port.js":                "text/javascript; charset=utf-8",
		"/manifest.webmanifest":           "application/manifest+json",
		"/icons/icon.svg":                 "image/svg+xml",
		"/icons/icon-192.png":             "image/png",
		"/icons/maskable-512.png":         "image/png",
		"/icons/apple-touch-icon.png":     "image/png",
		"/icons/../icons/icon-192.png":    "",
		"/index":                          "",
		"/icons":                          "",
		"/icons/":                         "",
		"//index.html":                    "",
		"/./index.html":                   "",
		"/../demo.go":                     "",
		"/..\\demo.go":                    "",
		"/../static/index.html":           "",
		"/static/index.html":              "",
		"/demo.go":                        "",
		"/sdk":                            "",
		"/sdk/":                           "",
		"/sdk/kms.d.ts":                   "",
		"/sdk/package.json":               "",
		"/sdk/kms.test.js":                "",
		"/sdk/kms_test.js":                "",
		"/sdk/test/all.js":                "",
		"/sdk/lib/testdata/vectors.js":    "",
		"/sdk/node_modules/other/main.js": "",
		"/sdk/.hidden.js":                 "",
		"/sdk/.git/hook.js":               "",
		"/sdk/../app.js":                  "",
		"/sdk/lib/../kms.js":              "",
		"/sdk/absent.js":                  "",
	}
	for target, contentType := range want {
		response := get(t, handler, http.MethodGet, target, nil)
		if contentType == "" {
			if response.StatusCode != http.StatusNotFound {
				t.Errorf("GET %s: got status %d, wanted 404", target, response.StatusCode)
			}
			continue
		}
		if response.StatusCode != http.StatusOK {
			t.Errorf("GET %s: got status %d, wanted 200", target, response.StatusCode)
		}
		if got := response.Header.Get("Content-Type"); got != contentType {
			t.Errorf("GET %s: got type %q, wanted %q", target, got, contentType)
		}
	}
}

func TestUnreadableFileIsNotFoundOrFailure(t *testing.T) {
	response := get(t, Handler(config, sdk), http.MethodGet, "/sdk/directory.js", nil)
	if response.StatusCode != http.StatusInternalServerError {
		t.Errorf("a directory with a module's name: got status %d, wanted 500", response.StatusCode)
	}
	if text := body(t, response); strings.Contains(text, "directory.js") {
		t.Errorf("message %q tells about files", text)
	}
}

func TestEveryResponseHasTheHeaders(t *testing.T) {
	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self' " + hashOf(servedImportMap(t)) + "; style-src 'self'; img-src 'self' data:; " +
			"connect-src 'self' http://localhost:8443; frame-src " + config.EnclaveURL + " blob:; manifest-src 'self'; " +
			"worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		"Cross-Origin-Opener-Policy": "same-origin",
		"Referrer-Policy":            "no-referrer",
		"X-Content-Type-Options":     "nosniff",
		"Cache-Control":              "no-cache",
	}
	handler := Handler(config, sdk)
	for _, target := range []string{"/", "/app.js", "/pin.js", "/sdk/kms.js", "/icons/icon.svg", "/absent"} {
		response := get(t, handler, http.MethodGet, target, nil)
		for name, value := range want {
			// http.Error removes Cache-Control from errors: nothing keeps them anyway.
			if name == "Cache-Control" && response.StatusCode != http.StatusOK {
				continue
			}
			if got := response.Header.Get(name); got != value {
				t.Errorf("GET %s: got %s %q, wanted %q", target, name, got, value)
			}
		}
	}
}

// servedImportMap is the text of the page's only inline script.
func servedImportMap(t *testing.T) string {
	t.Helper()
	page := body(t, get(t, Handler(config, sdk), http.MethodGet, "/", nil))
	found := regexp.MustCompile(`(?s)<script type="importmap">(.*?)</script>`).FindAllStringSubmatchIndex(page, -1)
	if len(found) != 1 {
		t.Fatalf("page has %d import maps, wanted 1", len(found))
	}
	if module := strings.Index(page, `<script type="module"`); module < found[0][0] {
		t.Error("the import map comes after the first module, to which it would not apply")
	}
	return page[found[0][2]:found[0][3]]
}

// hashOf is a hash-source of a policy (CSP3 section 2.3.1).
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// The import map has every module of the SDK that the app serves beside kms.js,
// with the hash of what is served.
func TestImportMapHasTheHashes(t *testing.T) {
	var found struct {
		Integrity map[string]string `json:"integrity"`
	}
	if err := json.Unmarshal([]byte(servedImportMap(t)), &found, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(found.Integrity)), []string{"/sdk/kms.js", "/sdk/push.js", "/sdk/status.js"}; !slices.Equal(got, want) {
		t.Errorf("import map names %q, wanted %q", got, want)
	}
	for name, integrity := range found.Integrity {
		sum := sha512.Sum384([]byte(body(t, get(t, Handler(config, sdk), http.MethodGet, name, nil))))
		if want := "sha384-" + base64.StdEncoding.EncodeToString(sum[:]); integrity != want {
			t.Errorf("%s: got %q, wanted %q", name, integrity, want)
		}
	}
}

// The demo is what docs/embedding.md tells apps to be: the doctor finds nothing
// to say about the app's own side. (That the pin is right, and what the host
// sends, is between the doctor and a real release.)
func TestDoctorIsContent(t *testing.T) {
	checkout := os.DirFS("../sdk")
	server := httptest.NewServer(Handler(config, checkout))
	defer server.Close()
	app, err := url.Parse(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]bool{}
	for _, finding := range doctor.Examine(t.Context(), app, doctor.Options{}).Findings {
		switch finding.Topic {
		case "csp", "frame-src", "connect-src", "integrity", "opener", "frames", "scripts":
			if good[finding.Topic] = finding.Grade == doctor.Good; !good[finding.Topic] {
				t.Errorf("%s, %s: %s", finding.Grade, finding.Topic, finding.What)
			}
		}
	}
	if !good["csp"] || !good["opener"] {
		t.Errorf("found %v, wanted csp and opener to be good", good)
	}
}

func TestMethods(t *testing.T) {
	handler := Handler(config, sdk)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		response := get(t, handler, method, "/", nil)
		if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: got status %d, Allow %q; wanted 405, GET and HEAD", method, response.StatusCode, response.Header.Get("Allow"))
		}
	}
	response := get(t, handler, http.MethodHead, "/", nil)
	if response.StatusCode != http.StatusOK || body(t, response) != "" {
		t.Errorf("HEAD: got status %d, wanted 200 without a body", response.StatusCode)
	}
}

func TestETagSavesTheSecondTransfer(t *testing.T) {
	handler := Handler(config, sdk)
	tags := map[string]string{}
	for _, target := range []string{"/", "/app.js", "/pin.js", "/sdk/kms.js"} {
		tag := get(t, handler, http.MethodGet, target, nil).Header.Get("ETag")
		if tag == "" || tags[tag] != "" {
			t.Errorf("GET %s: ETag %q is missing, or also that of %s", target, tag, tags[tag])
		}
		tags[tag] = target
		again := get(t, handler, http.MethodGet, target, http.Header{"If-None-Match": {tag}})
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("GET %s with its ETag: got status %d, wanted 304", target, again.StatusCode)
		}
	}
}

// constants are the exports of /pin.js. Each line holds one, as JSON.
func constants(t *testing.T, cfg Config) map[string]string {
	t.Helper()
	module := body(t, get(t, Handler(cfg, sdk), http.MethodGet, "/pin.js", nil))
	found := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^export const (\w+) = (.*);$`).FindAllStringSubmatch(module, -1) {
		found[match[1]] = match[2]
	}
	if lines := strings.Count(module, "\n"); len(found) != 3 || lines != 4 {
		t.Fatalf("module has %d exports on %d lines, wanted 3 on 4:\n%s", len(found), lines, module)
	}
	return found
}

func TestPin(t *testing.T) {
	found := constants(t, config)
	var pin struct{ Policy, Wasm string }
	var page, measurement string
	for text, value := range map[string]any{found["pin"]: &pin, found["url"]: &page, found["measurement"]: &measurement} {
		if err := json.Unmarshal([]byte(text), value, json.MatchCaseInsensitiveNames(true)); err != nil {
			t.Errorf("constant %s: %v", text, err)
		}
	}
	if pin.Policy != config.Policy || pin.Wasm != config.Wasm || page != config.EnclaveURL || measurement != config.Measurement {
		t.Errorf("got %+v %q %q, wanted what was configured", pin, page, measurement)
	}
	unpinned := config
	unpinned.Policy = ""
	if got := constants(t, unpinned)["pin"]; got != "null" {
		t.Errorf("without a policy: got pin %s, wanted null", got)
	}
}

// A value that ends a string, a line, a comment or a script stays inside its string.
func TestPinEscapes(t *testing.T) {
	for _, hostile := range []string{
		`"; alert(1); "`, "`${alert(1)}`", "</script><script>alert(1)</script>", "<!--", "a\nb", "a\r\nexport const pin = 1;",
		"\u2028alert(1)", "\u2029alert(1)", `\`, `\"`, "*/", "//", "\x00", "\xff\xfe",
	} {
		cfg := config
		cfg.Policy, cfg.Wasm, cfg.Measurement = hostile, hostile, hostile
		for name, text := range constants(t, cfg) {
			if strings.ContainsAny(text, "<>\u2028\u2029\r\n\x00") {
				t.Errorf("%s for %q: %q is not escaped", name, hostile, text)
			}
			var value any
			if err := json.Unmarshal([]byte(text), &value); err != nil {
				t.Errorf("%s for %q: %s is not JSON: %v", name, hostile, text, err)
			}
		}
		var measurement string
		want := string([]rune(hostile)) // each invalid byte becomes U+FFFD
		if err := json.Unmarshal([]byte(constants(t, cfg)["measurement"]), &measurement); err != nil || measurement != want {
			t.Errorf("measurement: got %q, %v; wanted %q", measurement, err, want)
		}
	}
}

func TestOrigin(t *testing.T) {
	for enclaveURL, want := range map[string]string{
		"http://localhost:8443/r/00/kms.html": "http://localhost:8443",
		"https://kms.example/kms.html?a#b":    "https://kms.example",
		"https://user:pass@kms.example/":      "https://kms.example",
		"http://[::1]:9/":                     "http://[::1]:9",
	} {
		if got, err := originOf(enclaveURL); err != nil || got != want {
			t.Errorf("origin of %q: got %q, %v; wanted %q", enclaveURL, got, err, want)
		}
	}
	for _, enclaveURL := range []string{
		"", "/kms.html", "kms.example", "https:", "https:///kms.html", "ftp://kms.example/", "javascript:alert(1)", "data:text/html,a",
		"https://kms.example;script-src *", "https://kms.example,b/", "https://a b/", "https://*/", "https://*.example/", "https://kms.example'/", "https://k\u00e4se.example/",
	} {
		if got, err := originOf(enclaveURL); err == nil {
			t.Errorf("origin of %q: got %q, wanted an error", enclaveURL, got)
		}
	}
}

func TestFramedPage(t *testing.T) {
	for enclaveURL, want := range map[string]string{
		config.EnclaveURL: config.EnclaveURL,
		"https://user:pass@kms.example/r/0/kms.html?a#b": "https://kms.example/r/0/kms.html",
		"http://[::1]:9/kms.html":                        "http://[::1]:9/kms.html",
		"https://kms.example/%6bms.html":                 "https://kms.example/kms.html",
	} {
		if got, err := pageOf(enclaveURL); err != nil || got != want {
			t.Errorf("page of %q: got %q, %v; wanted %q", enclaveURL, got, err, want)
		}
	}
	for _, enclaveURL := range []string{
		"/kms.html", "https://kms.example", "https://kms.example/", "https://kms.example/r/", "https://kms.example/a;script-src%20*", "https://kms.example/a%3bb",
		"https://kms.example/a,b", "https://kms.example/a b", "https://kms.example/a%2520b", "https://kms.example/*", "https://kms.example/'none'", "https://kms.example/k\u00e4se.html",
	} {
		if got, err := pageOf(enclaveURL); err == nil {
			t.Errorf("page of %q: got %q, wanted an error", enclaveURL, got)
		}
	}
}

func TestHandlerPanicsWithoutEnclave(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic for a relative URL")
		}
	}()
	Handler(Config{EnclaveURL: "/kms.html"}, sdk)
}

// static is what the app consists of, by URL path.
func static(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(embedded, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := embedded.ReadFile(name)
		files[strings.TrimPrefix(name, "static")] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestEveryEmbeddedFileIsServed(t *testing.T) {
	handler := Handler(config, sdk)
	for name, content := range static(t) {
		if name == "/index.html" {
			content = strings.Replace(content, emptyImportMap, `<script type="importmap">`+servedImportMap(t)+"</script>", 1)
		}
		response := get(t, handler, http.MethodGet, name, nil)
		if response.StatusCode != http.StatusOK || body(t, response) != content {
			t.Errorf("GET %s: got status %d or another content", name, response.StatusCode)
		}
	}
}

// The policy allows neither inline style nor inline script but the import map, so
// the page may hold none; and it may refer to nothing outside its origin.
func TestPageObeysItsPolicy(t *testing.T) {
	files := static(t)
	page := files["/index.html"]
	for _, forbidden := range []string{`<script>`, `<style`, ` style=`, ` onclick=`, ` onload=`, `javascript:`, `http://`, `src="//`} {
		if strings.Contains(page, forbidden) {
			t.Errorf("index.html contains %s", forbidden)
		}
	}
	for _, match := range regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllStringSubmatch(page, -1) {
		if match[1] != "/" && files[match[1]] == "" {
			t.Errorf("index.html refers to %s, which does not exist", match[1])
		}
	}
	for name, content := range files {
		if path.Ext(name) != ".js" {
			continue
		}
		for _, forbidden := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", `from "http`, `import("http`} {
			if strings.Contains(content, forbidden) {
				t.Errorf("%s contains %s", name, forbidden)
			}
		}
	}
}

// Every relative import names a file that is served.
func TestImportsResolve(t *testing.T) {
	handler := Handler(config, sdk)
	for name, content := range static(t) {
		if path.Ext(name) != ".js" {
			continue
		}
		for _, match := range regexp.MustCompile(`(?:from |import\()"(\.[^"]+\.js)"`).FindAllStringSubmatch(content, -1) {
			target := path.Join(path.Dir(name), match[1])
			if got := get(t, handler, http.MethodGet, target, nil).StatusCode; got != http.StatusOK {
				t.Errorf("%s imports %s: got status %d, wanted 200", name, target, got)
			}
		}
	}
}

// The first visit keeps the whole shell: every file that a page load needs.
func TestServiceWorkerKeepsTheShell(t *testing.T) {
	files := static(t)
	worker := files["/service-worker.js"]
	list := regexp.MustCompile(`(?s)const shell = \[(.*?)\];`).FindStringSubmatch(worker)
	if list == nil {
		t.Fatal("service-worker.js has no list named shell")
	}
	var got []string
	for _, match := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(list[1], -1) {
		got = append(got, match[1])
	}
	want := []string{"/"}
	for name := range files {
		worker := strings.HasSuffix(name, "-worker.js") // browsers keep service workers themselves
		if name != "/index.html" && !worker && path.Ext(name) != ".png" {
			want = append(want, name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("shell is\n%q, wanted\n%q", got, want)
	}
}

// What browsers ask of an app before they offer to install it.
func TestManifestIsInstallable(t *testing.T) {
	var manifest struct {
		Name      string `json:"name"`
		ShortName string `json:"short_name"`
		StartURL  string `json:"start_url"`
		Scope     string `json:"scope"`
		Display   string `json:"display"`
		Icons     []struct{ Src, Type, Sizes, Purpose string }
	}
	files := static(t)
	if err := json.Unmarshal([]byte(files["/manifest.webmanifest"]), &manifest, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	if manifest.Name == "" || manifest.ShortName == "" || manifest.StartURL != "/" || manifest.Scope != "/" || manifest.Display != "standalone" {
		t.Errorf("manifest %+v lacks a name, the start, the scope or the display", manifest)
	}
	var found []string
	for _, icon := range manifest.Icons {
		found = append(found, icon.Purpose+" "+icon.Sizes)
		if icon.Type != "image/png" {
			continue
		}
		picture, err := png.Decode(strings.NewReader(files[icon.Src]))
		if err != nil {
			t.Errorf("%s: %v", icon.Src, err)
			continue
		}
		side, _, _ := strings.Cut(icon.Sizes, "x")
		if size := picture.Bounds().Size(); size.X != size.Y || side != map[int]string{192: "192", 512: "512"}[size.X] {
			t.Errorf("%s is %v, wanted %s", icon.Src, size, icon.Sizes)
		}
	}
	for _, want := range []string{"any 192x192", "any 512x512", "maskable 192x192", "maskable 512x512"} {
		if !slices.Contains(found, want) {
			t.Errorf("no icon %q among %q", want, found)
		}
	}
}
