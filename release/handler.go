package release

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Handler serves the enclave's origin: the files of releases, the newest first,
// with the headers of their deployments, and nothing else. / is a line of text
// for people who wonder; the rest does not exist.
func Handler(all ...*Deployed) http.Handler {
	o := &origin{newest: all[0].Release, files: map[string]served{}}
	for _, d := range all {
		for _, f := range d.files() {
			o.files[d.Release.Path+f.Name] = served{d.Manifest.Deployment.Headers[f.Name], `"` + hash(f.Content).name() + `"`, f.Content}
		}
	}
	o.files["/"+ManifestName] = o.files[o.newest.Path+ManifestName]
	return o
}

type origin struct {
	newest *Release
	files  map[string]served // by URL path
}

type served struct {
	headers Headers
	tag     string // ETag, for what a cache may keep
	content []byte
}

func (o *origin) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		answer(w, q, http.StatusMethodNotAllowed, "405 method not allowed: GET or HEAD wanted\n")
		return
	}
	f, ok := o.files[q.URL.Path]
	switch {
	case ok:
		f.serve(w, q)
	case q.URL.Path == "/":
		answer(w, q, http.StatusOK, o.about())
	default:
		answer(w, q, http.StatusNotFound, "404 not found: this origin serves releases of an enclave, and no other file\n")
	}
}

func (f served) serve(w http.ResponseWriter, q *http.Request) {
	set(w.Header(), f.headers)
	w.Header().Set("ETag", f.tag)
	http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(f.content))
}

func (o *origin) about() string {
	return fmt.Sprintf(`This origin serves a Browser KMS Enclave: a key store that apps embed in a frame.
There is nothing to see here by itself.

version      %s
commit       %s
measurement  %s
page         %s
`, o.newest.Version, o.newest.Commit, o.newest.Measurement, o.newest.Page())
}

// answer sends a line of text that is not part of a release.
func answer(w http.ResponseWriter, q *http.Request, status int, text string) {
	set(w.Header(), restHeaders())
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	if q.Method != http.MethodHead {
		io.WriteString(w, text)
	}
}

func set(h http.Header, headers Headers) {
	for name, value := range headers {
		h.Set(name, value)
	}
}
