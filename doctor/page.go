package doctor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/kms-enclave/kms-enclave/release"
	"github.com/kms-enclave/kms-enclave/verify"
)

// Bounds of what is read of an app.
const (
	maxFile    = 4 << 20 // bytes of one file
	maxModules = 200     // files
	maxImports = 200     // of one file
	maxTotal   = 32 << 20
)

// page is what an app serves: its page and the modules that the page names, of
// its own origin.
type page struct {
	header       http.Header
	text         string
	metaPolicies []string
	frames       []frame
	foreign      []*url.URL        // scripts of other origins
	modules      map[string]string // URL → text
	sdk          map[string]string // name → hash, of modules that lie beside a kms.js; nil without one
	sdkAt        string            // URL of the directory of kms.js
	integrity    map[string]string // of import maps: URL → hash
	maps         []string          // the texts of import maps
}

// frame is an iframe in the markup.
type frame struct {
	src     *url.URL
	sandbox []string // nil without the attribute
}

var client = &http.Client{
	Timeout: 20 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

// fetch reads one file, as a browser that navigates or loads a script.
func fetch(ctx context.Context, u *url.URL, dest string) (http.Header, []byte, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	q.Header.Set("Accept", "text/html,*/*;q=0.8")
	q.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36")
	q.Header.Set("Sec-Fetch-Dest", dest)
	response, err := client.Do(q)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, nil, fmt.Errorf("%q: %w", verify.Clip(u.String()), err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		hint := ""
		if to := response.Header.Get("Location"); to != "" {
			hint = fmt.Sprintf(", a redirect to %q: give that address", verify.Clip(to))
		}
		return nil, nil, fmt.Errorf("%q answers %d%s", verify.Clip(u.String()), response.StatusCode, hint)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxFile+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%q: %w", verify.Clip(u.String()), err)
	case len(text) > maxFile:
		return nil, nil, fmt.Errorf("%q: got more than %d bytes", verify.Clip(u.String()), maxFile)
	}
	return response.Header, text, nil
}

// readPage reads an app's page, and its modules as far as they name each other.
func readPage(ctx context.Context, app *url.URL) (page, error) {
	header, text, err := fetch(ctx, app, "document")
	if err != nil {
		return page{}, err
	}
	p := page{header: header, text: string(text), modules: map[string]string{}, integrity: map[string]string{}}
	root, err := html.Parse(bytes.NewReader(text))
	if err != nil {
		return p, fmt.Errorf("the app's page: %w", err)
	}
	todo := p.readMarkup(root, app)
	return p, p.readModules(ctx, app, todo)
}

// readMarkup takes what matters from the page's elements, and returns the
// scripts to read.
func (p *page) readMarkup(root *html.Node, app *url.URL) []*url.URL {
	base := app
	var scripts []*url.URL
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.DataAtom {
		case atom.Base:
			if u, err := app.Parse(attribute(n, "href")); err == nil {
				base = u
			}
		case atom.Meta:
			if strings.EqualFold(attribute(n, "http-equiv"), "content-security-policy") {
				p.metaPolicies = append(p.metaPolicies, attribute(n, "content"))
			}
		case atom.Iframe, atom.Embed, atom.Object, atom.Frame:
			p.frames = append(p.frames, frameOf(n, base))
		case atom.Script:
			if u := p.readScript(n, base); u != nil {
				scripts = append(scripts, u)
			}
		}
	}
	return scripts
}

// readScript returns the URL of a script, nil if it has none.
func (p *page) readScript(n *html.Node, base *url.URL) *url.URL {
	inline := ""
	if n.FirstChild != nil {
		inline = n.FirstChild.Data
	}
	switch src := attribute(n, "src"); {
	case strings.EqualFold(attribute(n, "type"), "importmap"):
		var m struct {
			Integrity map[string]string `json:"integrity"`
		}
		p.maps = append(p.maps, inline)
		if json.Unmarshal([]byte(inline), &m) == nil {
			for specifier, hash := range m.Integrity {
				if u, err := base.Parse(specifier); err == nil {
					p.integrity[u.String()] = hash
				}
			}
		}
	case src != "":
		if u, err := base.Parse(src); err == nil {
			return u
		}
	case inline != "":
		p.modules[fmt.Sprintf("%s#inline-%d", base, len(p.modules))] = inline
	}
	return nil
}

func frameOf(n *html.Node, base *url.URL) (f frame) {
	src := cmp.Or(attribute(n, "src"), attribute(n, "data"))
	if attribute(n, "srcdoc") != "" {
		src = "about:srcdoc"
	}
	if src != "" {
		var err error
		if f.src, err = base.Parse(src); err != nil {
			f.src = &url.URL{Opaque: src} // browsers forgive more than this; it is a frame all the same
		}
	}
	for _, a := range n.Attr {
		if a.Key == "sandbox" {
			f.sandbox = append([]string{}, strings.Fields(a.Val)...)
		}
	}
	return f
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// importForm finds the specifiers of static and dynamic imports, well enough for
// modules that nobody has obfuscated.
var importForm = regexp.MustCompile(`(?:\bfrom\s*|\bimport\s*\(?\s*)["']([^"'\n]+)["']`)

// readModules follows imports inside the app's origin.
func (p *page) readModules(ctx context.Context, app *url.URL, todo []*url.URL) error {
	for text := range maps(p.modules) {
		todo = append(todo, imports(text, app)...)
	}
	total := 0
	for seen := map[string]bool{}; len(todo) > 0 && len(seen) < maxModules && total < maxTotal && ctx.Err() == nil; {
		u := todo[0]
		todo = todo[1:]
		u.Fragment = ""
		if seen[u.String()] {
			continue
		}
		seen[u.String()] = true
		if u.Scheme != app.Scheme || u.Host != app.Host {
			p.foreign = append(p.foreign, u)
			continue
		}
		_, content, err := fetch(ctx, u, "script")
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			continue // the browser will say so; it is none of our business
		}
		total += len(content)
		p.modules[u.String()] = string(content)
		todo = append(todo, imports(string(content), u)...)
	}
	p.findSDK()
	return nil
}

// maps yields the values of a map; a range over them may add to it.
func maps(m map[string]string) func(func(string) bool) {
	var values []string
	for _, v := range m {
		values = append(values, v)
	}
	return slices.Values(values)
}

func imports(text string, from *url.URL) []*url.URL {
	var found []*url.URL
	for _, match := range importForm.FindAllStringSubmatch(text, maxImports) {
		specifier := match[1]
		if !strings.HasPrefix(specifier, ".") && !strings.HasPrefix(specifier, "/") && !strings.Contains(specifier, "://") {
			continue // a bare name, for an import map or a bundler
		}
		if u, err := from.Parse(specifier); err == nil {
			found = append(found, u)
		}
	}
	return found
}

// findSDK takes the directory of kms.js for the SDK's.
func (p *page) findSDK() {
	for at := range p.modules {
		// Of two, the one with the shorter address, and then the first by name.
		if dir := path.Dir(at); path.Base(at) == "kms.js" && (p.sdkAt == "" || len(dir) < len(p.sdkAt) || len(dir) == len(p.sdkAt) && dir < p.sdkAt) {
			p.sdkAt = dir
		}
	}
	if p.sdkAt == "" {
		return
	}
	p.sdk = map[string]string{}
	for at, text := range p.modules {
		if path.Dir(at) == p.sdkAt {
			p.sdk[path.Base(at)] = release.Integrity([]byte(text))
		}
	}
}

var (
	releaseForm = regexp.MustCompile(`https?://[A-Za-z0-9.\-\[\]:]+/r/[0-9a-f]{32}/kms\.html`)
	policyForm  = regexp.MustCompile(`default-src 'none'; script-src 'sha384-[A-Za-z0-9+/]{64}' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'none'; base-uri 'none'; form-action 'none'`)
	hashForm    = regexp.MustCompile(`script-src[^;]{0,20}sha384-[A-Za-z0-9+/]{20}`)
)

// texts yields everything that was read, the page first.
func (p *page) texts() []string {
	all := []string{p.text}
	for _, at := range slices.Sorted(func(yield func(string) bool) {
		for at := range p.modules {
			if !yield(at) {
				return
			}
		}
	}) {
		all = append(all, p.modules[at])
	}
	return all
}

// find returns what matches in what was read, each once; \/ of JSON is a slash.
func (p *page) find(form *regexp.Regexp) []string {
	var found []string
	for _, text := range p.texts() {
		for _, match := range form.FindAllString(strings.ReplaceAll(text, `\/`, "/"), -1) {
			if !slices.Contains(found, match) {
				found = append(found, match)
			}
		}
	}
	return found
}

func (p *page) releases() []string { return p.find(releaseForm) }

func (p *page) policies() []string { return p.find(policyForm) }

func (p *page) mentionsHash() bool { return len(p.find(hashForm)) > 0 }

func (p *page) contains(s string) bool {
	return slices.ContainsFunc(p.texts(), func(text string) bool { return strings.Contains(strings.ReplaceAll(text, `\/`, "/"), s) })
}

// fetchManifest reads the manifest of the release whose page is at a URL.
func fetchManifest(ctx context.Context, page *url.URL) (release.Manifest, error) {
	_, text, err := fetch(ctx, page.ResolveReference(&url.URL{Path: release.ManifestName}), "empty")
	if err != nil {
		return release.Manifest{}, err
	}
	return release.ParseManifest(text)
}
