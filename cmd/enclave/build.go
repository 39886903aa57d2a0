package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
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

// check returns an error unless they can be measured.
func (d described) check() error {
	if err := release.CheckNames(cmp.Or(d.version, "dev"), cmp.Or(d.commit, "unknown")); err != nil {
		return &failure{err: err, hint: "both become part of the measurement; enclave build --help says more", usage: true}
	}
	return nil
}

func runBuild(ctx context.Context, u *ui, args []string) error {
	var d described
	var ancestors texts
	f := u.flags("build")
	out := f.String("out", "", "")
	origin := f.String("origin", "", "")
	previous := f.String("previous", "", "")
	compress := f.Bool("compress", true, "")
	f.Var(&ancestors, "frame-ancestors", "")
	d.register(f)
	if err := u.parse(f, args); err != nil {
		return err
	}
	if *out == "" {
		return &failure{err: errors.New("build: got no --out, wanted a directory"), hint: "for instance: enclave build --out dist", usage: true}
	}
	deployment := release.Deployment{FrameAncestors: ancestors, Origin: *origin}
	if err := errors.Join(checkDeployment(deployment), d.check()); err != nil {
		return err
	}
	before, err := previousRelease(*previous, *out)
	if err != nil {
		return err
	}
	r, err := buildRelease(ctx, u, d)
	if err != nil {
		return err
	}
	deployed, err := r.Deploy(deployment)
	if err != nil {
		return err
	}
	var forms func(release.File) ([]release.File, error)
	if *compress {
		forms = func(f release.File) ([]release.File, error) {
			u.progress("compressing " + f.Name)
			return release.Compress(f)
		}
	}
	err = release.Write(*out, deployed, forms)
	u.done()
	if err != nil {
		return withHint(err, "the directory must be writable, and hold nothing but releases; try another --out")
	}
	u.print("%s", summary(deployed, before, *out))
	if len(ancestors) == 0 {
		u.warn("no --frame-ancestors was given: with these headers no app can embed the release")
	}
	return nil
}

func runWithdraw(u *ui, args []string) error {
	f := u.flags("withdraw")
	dir := f.String("dir", "", "")
	target, err := u.parseWithTarget(f, args, "the release to withdraw")
	if err != nil {
		return err
	}
	if *dir == "" {
		return &failure{err: errors.New("withdraw: got no --dir, wanted the directory of the releases"), hint: "for instance: enclave withdraw --dir dist 1f3a…", usage: true}
	}
	if err := release.Withdraw(*dir, target); err != nil {
		return withHint(err, "ls "+filepath.Join(*dir, "r")+" shows what is there; give one of the names, but not the newest release's")
	}
	u.print("withdrawn: apps that pin it do not start any more, once the directory is deployed\n")
	return nil
}

// previousRelease returns what a build is compared with: the manifest that
// --previous names, else the newest one that the directory holds, else nothing.
func previousRelease(path, out string) (*release.Description, error) {
	named := path != ""
	if !named {
		path = filepath.Join(out, release.ManifestName)
	}
	text, err := os.ReadFile(path)
	if !named && err != nil {
		return nil, nil // none there yet; what is in the way shows when writing
	}
	if err != nil {
		return nil, withHint(fmt.Errorf("--previous: %w", err), "give the manifest.json of the release that apps pin now")
	}
	m, err := release.ParseManifest(text)
	if err != nil {
		return nil, withHint(fmt.Errorf("%s: %w", path, err), "this is not a manifest that this command reads; give another --previous, or build into an empty directory")
	}
	return &m.Release, nil
}

func checkDeployment(d release.Deployment) error {
	if err := d.Check(); err != nil {
		return &failure{err: err, hint: "an origin is what the address bar shows before the first slash, for instance https://app.example or http://127.0.0.1:8080", usage: true}
	}
	return nil
}

// summary is what a person needs after a build, ready to paste.
func summary(d *release.Deployed, before *release.Description, out string) string {
	r := d.Release
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	say("version      %s\ncommit       %s\nmeasurement  %s\n", r.Version, r.Commit, r.Measurement)
	for _, f := range r.Files {
		say("file         %s (%d bytes)\n", filepath.Join(out, filepath.FromSlash(r.Path), f.Name), f.Size)
	}
	say("manifest     %s\n", filepath.Join(out, filepath.FromSlash(r.Path), release.ManifestName))
	say("pin          %s\n", pinText(r.Pin()))

	origin := d.Manifest.Deployment.Origin
	if origin == "" {
		origin = "https://kms.example"
	}
	say("\nThe frame, as the SDK makes it:\n\n%s\n", indent("<iframe "+strings.ReplaceAll(r.IframeAttributes(origin), "\n", "\n        ")+"></iframe>"))
	say("\nFor the app's own Content-Security-Policy:\n\n  frame-src %s blob:; connect-src 'self' %s; frame-ancestors 'none'\n\nand with it Cross-Origin-Opener-Policy: same-origin.\n", origin+r.Page(), origin)
	sum := sha256.Sum256([]byte("\n" + string(r.ImportMap("/sdk/")) + "\n"))
	say("\nFor the app's page, if it serves the SDK from /sdk/, before any module:\n\n%s\n", "<script type=\"importmap\">\n"+string(r.ImportMap("/sdk/"))+"\n</script>")
	say("\nand in its script-src, unless you change a character of it: 'sha256-%s'\n", base64.StdEncoding.EncodeToString(sum[:]))
	if before == nil {
		return b.String()
	}
	changes := r.Changes(*before)
	if len(changes) == 0 {
		say("\nNothing changes for apps: this is the release that was there before.\n")
		return b.String()
	}
	say("\nWhat changes for apps that pin %s:\n\n", before.Measurement[:32])
	for _, line := range changes {
		say("  - %s\n", line)
	}
	return b.String()
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

func pinText(p release.Pin) string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // two ASCII strings have a form in JSON
	}
	return string(text)
}

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
