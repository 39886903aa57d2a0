package release

import (
	"cmp"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Toolchain is the one that builds every release of this source. It is part of
// the measurement. The go command fetches it, checked against the checksum
// database, whatever version from 1.21 on is installed.
const Toolchain = "go1.27.3"

// modulePath is the Go module that releases are built from.
const modulePath = "github.com/kms-enclave/kms-enclave"

// buildFlags make the module a function of source and toolchain alone, and keep
// it small: what is off the path of a signature is compiled without inlining,
// which takes 4 % off what a browser has to fetch.
var buildFlags = []string{
	"-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags=-s -w -buildid=",
	"-gcflags=time=-l", "-gcflags=fmt=-l", "-gcflags=reflect=-l", "-gcflags=encoding/json/v2=-l", "-gcflags=encoding/base32=-l",
	"-gcflags=crypto/internal/fips140/sha3=-l", "-gcflags=crypto/internal/fips140/aes/...=-l", "-gcflags=crypto/internal/fips140/nistec/...=-l",
}

// buildEnv are the settings that change what is built.
var buildEnv = map[string]string{
	"GOTOOLCHAIN": Toolchain, "GOOS": "js", "GOARCH": "wasm", "CGO_ENABLED": "0",
	"GOENV": "off", "GOFLAGS": "", "GOWORK": "off", "GOWASM": "", "GOEXPERIMENT": "", "GOFIPS140": "off", "GODEBUG": "",
}

// ErrNoGo means that there is no go command.
var ErrNoGo = errors.New("go command: not found on PATH")

// Options say what to build.
type Options struct {
	Source   string   // root of the checkout
	Version  string   // semantic version; empty means "dev"
	Commit   string   // 40 hex digits; empty means the HEAD of a clean work tree, else "unknown"
	Tags     []string // build tags, for test builds
	Progress func(step string)
}

// Build builds a release from source. It needs a go command, and on first use
// the network, to fetch the toolchain.
func Build(ctx context.Context, o Options) (*Release, error) {
	progress := o.Progress
	if progress == nil {
		progress = func(string) {}
	}
	progress("finding the toolchain " + Toolchain)
	tools, err := findTools(ctx, o.Source)
	if err != nil {
		return nil, err
	}
	wasmExec, err := os.ReadFile(filepath.Join(tools["GOROOT"], "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		return nil, fmt.Errorf("toolchain: %w", err)
	}
	source, err := os.OpenRoot(o.Source) // links do not lead out of it
	if err != nil {
		return nil, err
	}
	defer source.Close()
	web, err := fs.Sub(source.FS(), "web")
	if err != nil {
		return nil, err
	}
	text, err := readSources(web, wasmExec)
	if err != nil {
		return nil, err
	}
	vendored, err := fs.Sub(source.FS(), "sdk")
	if err != nil {
		return nil, err
	}
	sdk, err := readSDK(vendored)
	if err != nil {
		return nil, err
	}
	p := parts{sources: text, sdk: sdk, version: cmp.Or(o.Version, "dev"), commit: o.Commit, tags: o.Tags}
	if p.commit == "" {
		p.commit = HeadCommit(ctx, o.Source)
	}
	progress("compiling the enclave to WebAssembly")
	if p.module, err = compile(ctx, o, tools); err != nil {
		return nil, err
	}
	modules, err := listModules(ctx, o, tools)
	if err != nil {
		return nil, err
	}
	if p.sbom, err = billOfMaterials(p, modules); err != nil {
		return nil, err
	}
	progress("measuring")
	return assemble(p)
}

// readSDK describes the modules that apps vendor, in the order of their names.
func readSDK(sdk fs.FS) ([]FileInfo, error) {
	names, err := fs.Glob(sdk, "*.js")
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("sdk: got %d modules, wanted those of a checkout (%v)", len(names), err)
	}
	var files []FileInfo
	for _, name := range names {
		content, err := fs.ReadFile(sdk, name)
		if err != nil {
			return nil, err
		}
		files = append(files, describe(name, content))
	}
	return files, nil
}

// Settings that say where things are and whom to trust for them. They are the
// user's, and do not change what is built.
var userSettings = []string{
	"GOPATH", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE", "GOAUTH", "GOVCS",
}

// findTools asks the pinned toolchain for its root and the user's settings.
func findTools(ctx context.Context, dir string) (map[string]string, error) {
	args := append([]string{"env", "-json", "GOROOT", "GOVERSION"}, userSettings...)
	env := append(withoutGo(os.Environ()), "GOTOOLCHAIN="+Toolchain, "GOWORK=off")
	for _, name := range userSettings {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	out, err := run(ctx, dir, env, "go", args...)
	if err != nil {
		return nil, fmt.Errorf("toolchain %s: %w", Toolchain, err)
	}
	tools := map[string]string{}
	if err := json.Unmarshal(out, &tools); err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	if got := tools["GOVERSION"]; got != Toolchain {
		return nil, fmt.Errorf("toolchain: got %s, wanted %s", got, Toolchain)
	}
	return tools, nil
}

func compile(ctx context.Context, o Options, tools map[string]string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "kms-enclave-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	output := filepath.Join(dir, "enclave.wasm")
	args := append([]string{"build"}, buildFlags...)
	args = append(args, tagsFlag(o.Tags)...)
	args = append(args, "-o", output, mainPackage)
	if _, err := run(ctx, o.Source, buildEnviron(tools), "go", args...); err != nil {
		return nil, fmt.Errorf("compiling: %w", err)
	}
	return os.ReadFile(output)
}

// mainPackage is the program that becomes the module.
const mainPackage = "./cmd/enclave-wasm"

func tagsFlag(tags []string) []string {
	if len(tags) == 0 {
		return nil
	}
	return []string{"-tags=" + strings.Join(tags, ",")}
}

// buildEnviron is the environment of every go command that has a part in a
// release: the pinned settings, and where the user keeps caches.
func buildEnviron(tools map[string]string) []string {
	env := withoutGo(os.Environ())
	for name, value := range buildEnv {
		env = append(env, name+"="+value)
	}
	for _, name := range userSettings {
		env = append(env, name+"="+tools[name])
	}
	return env
}

// withoutGo drops every setting of the go command from an environment.
func withoutGo(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		return strings.HasPrefix(entry, "GO") || strings.HasPrefix(entry, "CGO_")
	})
}

// HeadCommit returns the commit that dir is a clean checkout of, or "unknown".
// It says so only if dir is the top of its own repository, nothing in it differs
// from the commit, and no file that a build could take in is ignored by git.
func HeadCommit(ctx context.Context, dir string) string {
	const unknown = "unknown"
	top, err := git(ctx, dir, "rev-parse", "--show-toplevel")
	if err != nil || !sameDirectory(top, dir) {
		return unknown
	}
	commit, err := git(ctx, dir, "rev-parse", "--verify", "HEAD")
	if err != nil || !commitForm.MatchString(commit) {
		return unknown
	}
	for _, args := range [][]string{
		{"status", "--porcelain", "--untracked-files=all"},
		{"status", "--porcelain", "--untracked-files=all", "--ignored", "--", "*.go", "go.*", "web", "sdk", "cmd", ":(exclude)e2e"},
	} {
		if changes, err := git(ctx, dir, args...); err != nil || changes != "" {
			return unknown
		}
	}
	// Files that git was told not to look at: "assume unchanged", "skip worktree".
	files, err := git(ctx, dir, "ls-files", "-v")
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(files) {
		if !strings.HasPrefix(line, "H ") {
			return unknown
		}
	}
	return commit
}

// git runs git without the settings of the user and of the tree that could make
// it look elsewhere, look away, or run something.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "GIT_") })
	args = append([]string{"-c", "core.fsmonitor=", "-c", "core.hooksPath=" + os.DevNull, "-c", "core.untrackedCache=false", "-c", "core.excludesFile="}, args...)
	out, err := run(ctx, dir, env, "git", args...)
	return strings.TrimSpace(string(out)), err
}

func sameDirectory(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// run runs a command and returns what it wrote; its error contains what it
// complained about.
func run(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, env
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound) && name == "go":
		return nil, ErrNoGo
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w\n%s", name, args[0], err, strings.TrimSpace(complaint.String()))
	}
	return out, nil
}
