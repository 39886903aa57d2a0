package main

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kms-enclave/kms-enclave/release"
)

// described are the flags that say what a release calls itself.
type described struct{ version, commit string }

func (d *described) register(set interface {
	StringVar(p *string, name, value, usage string)
},
) {
	set.StringVar(&d.version, "version", "", "")
	set.StringVar(&d.commit, "commit", "", "")
}

func runBuild(ctx context.Context, u *ui, args []string) error {
	var d described
	var ancestors texts
	f := u.flags("build")
	out := f.String("out", "", "")
	origin := f.String("origin", "", "")
	f.Var(&ancestors, "frame-ancestors", "")
	d.register(f)
	if err := u.parse(f, args); err != nil {
		return err
	}
	if *out == "" {
		return &failure{err: errors.New("build: got no --out, wanted a directory"), hint: "for instance: enclave build --out dist", usage: true}
	}
	deployment := release.Deployment{FrameAncestors: ancestors, Origin: *origin}
	if err := checkDeployment(deployment); err != nil {
		return err
	}
	r, err := buildRelease(ctx, u, d)
	if err != nil {
		return err
	}
	if err := r.Write(*out, deployment); err != nil {
		return withHint(err, "the directory must be writable; try another --out")
	}
	u.print("%s", summary(r, *out))
	return nil
}

func checkDeployment(d release.Deployment) error {
	if err := d.Check(); err != nil {
		return &failure{err: err, hint: "an origin is what the address bar shows before the first slash, for instance https://app.example or http://127.0.0.1:8080", usage: true}
	}
	return nil
}

// summary is what a person needs after a build: the pin, ready to paste.
func summary(r *release.Release, out string) string {
	pin, err := json.Marshal(pinOf(r))
	if err != nil {
		panic(err) // two ASCII strings have a form in JSON
	}
	var text strings.Builder
	text.WriteString(fmt.Sprintf("version      %s\ncommit       %s\nmeasurement  %s\n", r.Version, r.Commit, r.Measurement))
	for _, f := range r.Files() {
		text.WriteString(fmt.Sprintf("file         %s (%d bytes)\n", filepath.Join(out, filepath.FromSlash(r.Dir()), f.Name), len(f.Content)))
	}
	return text.String() + fmt.Sprintf("manifest     %s\npin          %s\n", filepath.Join(out, "manifest.json"), pin)
}

// pin is what an app pins, in the form that the SDK takes.
type pin struct {
	Policy string `json:"policy"`
	Wasm   string `json:"wasm"`
}

func pinOf(r *release.Release) pin { return pin{Policy: r.Policy, Wasm: r.Wasm} }

// buildRelease builds from the checkout around the working directory.
func buildRelease(ctx context.Context, u *ui, d described) (*release.Release, error) {
	root, err := checkout()
	if err != nil {
		return nil, err
	}
	r, err := release.Build(ctx, release.Options{Source: root, Version: d.version, Commit: d.commit, Progress: u.progress})
	switch {
	case err == nil:
		u.done()
		return r, nil
	case errors.Is(err, release.ErrNoGo):
		return nil, withHint(err, "install Go 1.21 or later: https://go.dev/dl")
	case ctx.Err() != nil:
		return nil, err
	}
	return nil, withHint(err, "the lines above come from the go command; it fetches the toolchain over the network the first time")
}

const modulePath = "github.com/kms-enclave/kms-enclave"

// checkout returns the root of the checkout that the working directory is in.
func checkout() (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", withHint(err, "change into a directory that exists")
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && moduleOf(string(text)) == modulePath {
			return dir, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", withHint(err, "the checkout must be readable")
		}
		if dir == filepath.Dir(dir) {
			return "", withHint(
				fmt.Errorf("checkout: %s is not inside one of %s", here, modulePath),
				"clone the source and run the command in it: the enclave is built from what you can read")
		}
	}
}

// moduleOf returns the module path of a go.mod file, "" if it declares none.
func moduleOf(text string) string {
	var path string
	for line := range strings.Lines(text) {
		if n, err := fmt.Sscanf(line, "module %s", &path); n == 1 && err == nil {
			return path
		}
	}
	return ""
}
