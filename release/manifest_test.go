package release

import (
	"bytes"
	"encoding/json/v2"
	"errors"
	"strings"
	"testing"
)

func manifestText(t testing.TB, r *Release) []byte {
	t.Helper()
	d, err := r.Deploy(Deployment{FrameAncestors: []string{"https://app.example"}, Origin: "https://kms.example"})
	if err != nil {
		t.Fatal(err)
	}
	return d.ManifestText
}

// TestManifest: what is written is read, canonical, and every hash and size is
// that of the file.
func TestManifest(t *testing.T) {
	r := fake(t, "m")
	text := manifestText(t, r)
	m, err := ParseManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range r.Contents() {
		if want := describe(f.Name, f.Content); m.Release.Files[i] != want {
			t.Errorf("%+v, %+v wanted", m.Release.Files[i], want)
		}
		if len(m.Deployment.Headers[f.Name]) == 0 {
			t.Errorf("%s: no headers", f.Name)
		}
	}
	if m.Release.Pin() != r.Pin() || m.Release.Build.Env["GOARCH"] != "wasm" || m.Release.Build.WasmExec != Integrity([]byte("// wasm_exec.js")) {
		t.Errorf("%+v", m.Release)
	}
}

// TestManifestRefused: each kind of bad manifest has its own error.
func TestManifestRefused(t *testing.T) {
	good := string(manifestText(t, fake(t, "m")))
	loader := fake(t, "m").Measurement[:32] + ".js"
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the manifest", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"empty":              {"", ErrManifestTruncated},
		"truncated":          {good[:len(good)/2], ErrManifestTruncated},
		"last byte missing":  {good[:len(good)-1], ErrManifestTruncated},
		"not JSON":           {"<!doctype html>", ErrManifestSyntax},
		"an array":           {"[]", ErrManifestSyntax},
		"something behind":   {good + "{}", ErrManifestSyntax},
		"too long":           {good + strings.Repeat(" ", MaxManifest), ErrManifestSyntax},
		"duplicate member":   {strings.Replace(good, `{"deployment"`, `{"schema":1,"deployment"`, 1), ErrManifestSyntax},
		"unknown member":     {strings.Replace(good, `"schema":1`, `"schema":1,"signature":"x"`, 1), ErrManifestSyntax},
		"no schema":          {replace(`,"schema":1`, ""), ErrManifestSyntax},
		"newer":              {replace(`"schema":1`, `"schema":2`), ErrManifestNewer},
		"newer, other form":  {`{"schema":7,"everything":"is different"}`, ErrManifestNewer},
		"white space":        {good + "\n", ErrManifestForm},
		"other order":        {strings.Replace(replace(`,"schema":1`, ""), "{", `{"schema":1,`, 1), ErrManifestForm},
		"escaped characters": {replace("kms.html", `kms\u002ehtml`), ErrManifestForm},
		"member left out":    {replace(`"storage":3,`, ""), ErrManifestForm},
		"path outside":       {replace(`"path":"/r/`, `"path":"/../r/`), ErrManifestPath},
		"file outside":       {replace(`"name":"`+loader, `"name":"../`+loader), ErrManifestPath},
		"file of Windows":    {replace(`"name":"`+loader, `"name":"..\\`+loader), ErrManifestPath},
		"SDK file outside":   {replace(`"name":"kms.js"`, `"name":"../kms.js"`), ErrManifestPath},
		"another file":       {replace(`"name":"`+loader, `"name":"x.js`), ErrManifestValue},
		"size 0":             {replace(`"size":1}`, `"size":0}`), ErrManifestValue},
		"enormous size":      {replace(`"size":1}`, `"size":99999999999}`), ErrManifestValue},
		"another policy":     {replace("worker-src blob:", "worker-src data:"), ErrManifestValue},
		"tag is a flag":      {replace(`"tags":[]`, `"tags":["x -toolexec=y"]`), ErrManifestValue},
		"commit is a flag":   {replace(strings.Repeat("a", 40), "--upload-pack=x"), ErrManifestValue},
		"version escapes":    {replace(`"version":"1.2.3"`, `"version":"1.2.3\u001b[2J"`), ErrManifestValue},
		"looser header":      {replace(`"Referrer-Policy":"no-referrer"`, `"Referrer-Policy":"unsafe-url"`), ErrManifestValue},
		"header left out":    {replace(`"Referrer-Policy":"no-referrer",`, ""), ErrManifestValue},
		"additional header":  {replace(`"Referrer-Policy"`, `"Refresh":"0; url=/x","Referrer-Policy"`), ErrManifestForm},
		"anybody may embed":  {replace(`"frameAncestors":["https://app.example"]`, `"frameAncestors":["*"]`), ErrManifestValue},
	} {
		if _, err := ParseManifest([]byte(test.text)); !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, wanted %v", name, err, test.want)
		}
	}
	var m Manifest
	if err := json.Unmarshal([]byte(good), &m); err != nil {
		t.Fatal(err)
	}
	m.Release.Files = m.Release.Files[:3]
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseManifest(text); !errors.Is(err, ErrManifestValue) {
		t.Errorf("a file is missing: %v", err)
	}
}

// FuzzParseManifest: what is accepted encodes to the same bytes, and names no
// file that could lie elsewhere.
func FuzzParseManifest(f *testing.F) {
	good := manifestText(f, fake(f, "m"))
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte(`{"schema":2}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseManifest(text)
		if err != nil {
			return
		}
		if again, err := m.Encode(); err != nil || !bytes.Equal(again, text) {
			t.Errorf("encodes differently: %v", err)
		}
		for _, f := range append(m.Release.Files, m.Release.SDK...) {
			if strings.ContainsAny(f.Name, "/\\") || strings.HasPrefix(f.Name, ".") {
				t.Errorf("names %q", f.Name)
			}
		}
	})
}
