package verify

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/kms-enclave/kms-enclave/release"
)

// rebuild builds the release of a manifest from source, with the version and
// commit that it says, and compares.
func (r *run) rebuild(ctx context.Context, m release.Manifest, contents map[string][]byte) error {
	if r.Rebuild == "" {
		return nil
	}
	if m.Release.Toolchain != release.Toolchain {
		return uncheckedf("rebuild: the release was built with %s, this command builds with %s: use the command of the release's own checkout", m.Release.Toolchain, release.Toolchain)
	}
	built, err := release.Build(ctx, release.Options{
		Source: r.Rebuild, Version: m.Release.Version, Commit: m.Release.Commit, Progress: r.Progress,
	})
	if err != nil {
		return uncheckedf("rebuild: %w", err)
	}
	if err := compareBuilds(m.Release, built, contents); err != nil {
		return err
	}
	r.proved("Every file of %s is what the source in %q builds, with %s.", m.Release.Path, r.Rebuild, release.Toolchain)
	switch head := release.HeadCommit(ctx, r.Rebuild); {
	case m.Release.Commit == head && head != "unknown":
		r.proved("That source is a clean checkout of commit %s.", head)
	case m.Release.Commit == "unknown":
		r.notProved("Which commit this is: the release names none.")
	default:
		r.notProved("That the source in %q is commit %s: it is no clean checkout of it.", r.Rebuild, m.Release.Commit)
	}
	return nil
}

// compareBuilds names the first thing in which a release differs from the one
// that was built.
func compareBuilds(served release.Description, built *release.Release, contents map[string][]byte) error {
	b := built.Description
	for _, c := range []struct {
		what      string
		got, want any
		equal     bool
	}{
		{"build.flags", served.Build.Flags, b.Build.Flags, slices.Equal(served.Build.Flags, b.Build.Flags)},
		{"build.env", served.Build.Env, b.Build.Env, maps.Equal(served.Build.Env, b.Build.Env)},
		{"build.wasmExec", served.Build.WasmExec, b.Build.WasmExec, served.Build.WasmExec == b.Build.WasmExec},
		{"storage", served.Storage, b.Storage, served.Storage == b.Storage},
	} {
		if !c.equal {
			return &Difference{File: release.ManifestName, What: "release." + c.what, Got: fmt.Sprintf("%q", fmt.Sprint(c.got)), Want: fmt.Sprintf("%q, as rebuilt", fmt.Sprint(c.want))}
		}
	}
	// The module first: the others follow from it.
	order := []int{2, 1, 0, 3}
	files := built.Contents()
	for _, i := range order {
		got, want := contents[served.Files[i].Name], files[i]
		if len(got) == 0 || len(want.Content) == 0 {
			return uncheckedf("rebuild: there is nothing to compare for %s", want.Name)
		}
		if !bytes.Equal(got, want.Content) {
			at, gotBytes, wantBytes := firstDifference(got, want.Content)
			return &Difference{
				File: served.Path + served.Files[i].Name, What: fmt.Sprintf("bytes from %d on", at),
				Got: fmt.Sprintf("%s (%s)", gotBytes, release.Integrity(got)), Want: fmt.Sprintf("%s (%s), as rebuilt", wantBytes, release.Integrity(want.Content)),
			}
		}
	}
	if !slices.Equal(served.SDK, b.SDK) {
		return &Difference{File: release.ManifestName, What: "release.sdk", Got: "other hashes", Want: "those of the source's SDK"}
	}
	return nil
}
