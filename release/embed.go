package release

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"html"
	"maps"
	"slices"
	"strings"
)

// What an app developer copies from a release.

// Pin is what an app pins, in the form that the SDK takes.
type Pin struct {
	Policy string `json:"policy"`
	Wasm   string `json:"wasm"`
}

// Pin returns the pin of d.
func (d Description) Pin() Pin { return Pin{Policy: d.Policy, Wasm: d.Wasm} }

// ImportMap returns an import map (HTML section 8.1.5.5) that makes the browser
// check each module of the SDK before it runs it. prefix is the URL of the
// directory that the app serves the SDK from, such as "/sdk/".
func (d Description) ImportMap(prefix string) []byte {
	integrity := map[string]string{}
	for _, f := range d.SDK {
		integrity[prefix+f.Name] = f.SHA384
	}
	text, err := json.Marshal(map[string]any{"integrity": integrity}, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		panic(err) // strings have a form in JSON
	}
	return text
}

// IframeAttributes returns the attributes of the frame that the SDK makes, as
// HTML. An app that makes it by hand must use the same ones.
func (d Description) IframeAttributes(origin string) string {
	var b strings.Builder
	for i, a := range [][2]string{
		{"src", origin + d.Page()},
		{"csp", d.Policy},
		{"sandbox", "allow-scripts allow-same-origin allow-downloads"},
		{"allow", "publickey-credentials-get; publickey-credentials-create"},
		{"referrerpolicy", "no-referrer"},
	} {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, `%s="%s"`, a[0], html.EscapeString(a[1]))
	}
	return strings.ReplaceAll(b.String(), "&#39;", "'")
}

// Changes says, one sentence each, what an app that pinned before has to know
// about d. It is empty if they are the same release.
func (d Description) Changes(before Description) []string {
	if d.Measurement == before.Measurement {
		return d.sdkChanges(before)
	}
	var say []string
	add := func(format string, args ...any) { say = append(say, fmt.Sprintf(format, args...)) }
	add("Pin the new policy: the loader is another one (%s, was %s).", d.Measurement[:nameLength], before.Measurement[:nameLength])
	if d.Wasm == before.Wasm {
		add("The module is the same: keep pin.wasm.")
	} else {
		add("Pin the new module.")
	}
	add("The frame's address changes from %s to %s, in connect() and in the app's frame-src; the old one works until it is withdrawn.", before.Page(), d.Page())
	if d.Version != before.Version {
		add("Version %s, was %s.", d.Version, before.Version)
	}
	switch {
	case d.Storage > before.Storage:
		add("Storage version %d, was %d: once a user has opened the new release, the old one cannot open their vault any more.", d.Storage, before.Storage)
	case d.Storage < before.Storage:
		add("Storage version %d, was %d: this is the older release; it cannot open vaults that the newer one has opened.", d.Storage, before.Storage)
	}
	if d.Toolchain != before.Toolchain {
		add("Built with %s, before with %s.", d.Toolchain, before.Toolchain)
	}
	if !slices.Equal(d.Build.Flags, before.Build.Flags) || !maps.Equal(d.Build.Env, before.Build.Env) || !slices.Equal(d.Build.Tags, before.Build.Tags) {
		add("Built with other settings.")
	}
	if len(d.sdkChanges(before)) == 0 {
		add("The SDK is the same.")
	}
	return append(say, d.sdkChanges(before)...)
}

func (d Description) sdkChanges(before Description) []string {
	var changed []string
	old := map[string]string{}
	for _, f := range before.SDK {
		old[f.Name] = f.SHA384
	}
	for _, f := range d.SDK {
		if old[f.Name] != f.SHA384 {
			changed = append(changed, f.Name)
		}
		delete(old, f.Name)
	}
	changed = append(changed, sortedKeys(old)...)
	if len(changed) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("Copy the SDK anew, and its import map: %s changed.", strings.Join(changed, ", "))}
}
