// Package doctor looks at an app from outside and says what is wrong with the
// way it embeds an enclave: its policy, its pin, its other frames, its domain.
//
// It reads the app's page and the modules that the page names, of its own
// origin, and executes nothing of them. What an app decides at run time it
// cannot see: it says so, and takes the enclave's address from a flag.
package doctor

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kms-enclave/kms-enclave/release"
	"github.com/kms-enclave/kms-enclave/verify"
)

// ReportVersion is the version of the form of [Report].
const ReportVersion = 1

// The grades of a finding.
const (
	Good    = "ok"
	Warning = "warning" // works, and is weaker than it could be
	Bad     = "error"   // does not work, or is not safe
)

// Report is what was found. Its JSON form is versioned.
type Report struct {
	Version  int       `json:"version"` // ReportVersion
	App      string    `json:"app"`
	Enclave  string    `json:"enclave,omitzero"` // URL of the release's page, if one was found
	Findings []Finding `json:"findings"`
	Problem  string    `json:"problem,omitzero"` // why the app could not be looked at
	Read     int       `json:"read"`             // files of the app that were read
	Millis   int64     `json:"milliseconds"`
}

// Finding is one thing that was looked at.
type Finding struct {
	Grade string `json:"grade"`
	Topic string `json:"topic"` // "frame-src", "pin", …
	What  string `json:"what"`
	Do    string `json:"do,omitzero"` // what to do about it
}

// Count returns how many findings have a grade.
func (r Report) Count(grade string) int {
	n := 0
	for _, f := range r.Findings {
		if f.Grade == grade {
			n++
		}
	}
	return n
}

// Options say what the doctor is told.
type Options struct {
	Enclave  string        // URL of the release's page; empty: find it in the app
	Timeout  time.Duration // for everything that is read; 0 means a minute
	Progress func(step string)
}

// examination is one app being looked at.
type examination struct {
	Options
	report  Report
	app     *url.URL
	page    page
	enclave *url.URL // nil if unknown
}

// Examine looks at the app at a URL.
func Examine(ctx context.Context, app *url.URL, o Options) Report {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	began := time.Now()
	e := &examination{Options: o, app: app, report: Report{Version: ReportVersion, App: app.String(), Findings: []Finding{}}}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("the app did not answer everything within %v", o.Timeout))
	defer cancel()
	if err := e.examine(ctx); err != nil {
		e.report.Problem = err.Error()
	}
	e.report.Millis = time.Since(began).Milliseconds()
	return e.report
}

func (e *examination) examine(ctx context.Context) error {
	e.Progress("reading the app")
	var err error
	if e.page, err = readPage(ctx, e.app); err != nil {
		return err
	}
	e.report.Read = 1 + len(e.page.modules)
	e.checkTransport()
	if err := e.findEnclave(); err != nil {
		return err
	}
	e.checkPolicy()
	e.checkFrames()
	e.checkSources()
	if e.enclave == nil {
		return nil
	}
	e.checkDomains()
	e.Progress("comparing what the enclave's host serves")
	e.checkHost(ctx)
	return nil
}

func (e *examination) say(grade, topic, do, format string, args ...any) {
	e.report.Findings = append(e.report.Findings, Finding{Grade: grade, Topic: topic, What: fmt.Sprintf(format, args...), Do: do})
}

func (e *examination) checkTransport() {
	if e.app.Scheme != "https" && !verify.IsLoopback(e.app.Hostname()) {
		e.say(Bad, "https", "Serve the app over https.", "The app comes over http: browsers give it no cryptography, and anybody on the way can change it.")
	}
	switch e.page.header.Get("Cross-Origin-Opener-Policy") {
	case "same-origin":
		e.say(Good, "opener", "", "Cross-Origin-Opener-Policy: same-origin. No page that opened the app holds a handle on it.")
	default:
		e.say(Warning, "opener", "Send Cross-Origin-Opener-Policy: same-origin with the app's pages.",
			"The app has no Cross-Origin-Opener-Policy of same-origin. A page of the enclave's host that opens the app can script the enclave's frame, because both are of one origin.")
	}
}

// findEnclave takes the release's address from the flag, or from the app's sources.
func (e *examination) findEnclave() error {
	target := e.Enclave
	if target == "" {
		found := e.page.releases()
		switch {
		case len(found) == 0:
			e.say(Bad, "enclave", "Give its address with --enclave, if the app learns it at run time.", "No address of a release (https://HOST/r/HEX/kms.html) stands in the page or in %d modules of the app.", len(e.page.modules))
			return nil
		case len(found) > 1:
			e.say(Warning, "enclave", "Say with --enclave which one to look at.", "The app names %d releases; this looks at the first.", len(found))
		}
		target = found[0]
	}
	u, err := verify.CheckTarget(target)
	if err != nil {
		return err
	}
	// What an app says is no reason to ask machines of this network.
	if e.Enclave == "" && isPrivate(u.Hostname()) && !isPrivate(e.app.Hostname()) {
		e.say(Bad, "enclave", "Give it with --enclave if that is right.", "The app names an enclave on this machine or network, %q.", u.String())
		return nil
	}
	e.enclave = u
	e.report.Enclave = u.String()
	return nil
}

// checkSources looks at where code comes from.
func (e *examination) checkSources() {
	foreign := 0
	for _, source := range e.page.foreign {
		from := &url.URL{Scheme: source.Scheme, Host: source.Host}
		if e.enclave != nil && source.Scheme == e.enclave.Scheme && source.Host == e.enclave.Host {
			e.say(Bad, "sdk", "Copy the SDK into the app and serve it from there.", "The app runs code from the enclave's host, %q: that host then owns the app's origin, and with it the share.", verify.Clip(source.String()))
			continue
		}
		if foreign++; foreign <= 3 {
			e.say(Warning, "scripts", "Serve scripts from the app's own origin, or give them integrity.", "The app runs a script of another origin, %q: whoever controls that can ask the enclave for anything that the app can.", verify.Clip(from.String()))
		}
	}
	if e.page.sdk == nil {
		e.say(Warning, "sdk", "", "The SDK was not found among the %d modules that the page names: a bundle, or loaded later. Its hashes were not compared.", len(e.page.modules))
	}
	e.checkIntegrity()
}

// checkIntegrity compares import maps with what is served, and with the app's policy.
func (e *examination) checkIntegrity() {
	if e.page.sdk == nil {
		return
	}
	if len(e.page.integrity) == 0 {
		e.say(Warning, "integrity", `Put the import map that "enclave build" prints before the first module.`, "No import map with integrity: the browser does not check the SDK's modules before it runs them.")
		return
	}
	for _, text := range e.page.maps {
		sum := sha256.Sum256([]byte(text))
		source := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		if e.blocksInline(source) {
			e.say(Bad, "integrity", "Add "+source+" to script-src.", "The app's policy blocks its own import map: nothing checks the SDK's modules.")
			return
		}
	}
	unnamed, wrong := 0, 0
	for at, text := range e.page.modules {
		if !e.isSDK(at) {
			continue
		}
		switch hash, ok := e.page.integrity[at]; {
		case !ok:
			unnamed++
		case hash != release.Integrity([]byte(text)):
			wrong++
			e.say(Bad, "integrity", "Copy the SDK and its import map from one release.", "The browser refuses %q: it has not the hash that the import map names.", verify.Clip(at))
		}
	}
	switch {
	case unnamed > 0:
		e.say(Warning, "integrity", `Take the whole import map that "enclave build" prints.`, "The import map names no hash for %d modules of the SDK.", unnamed)
	case wrong == 0:
		e.say(Good, "integrity", "", "The import map names the hash of every module of the SDK that the app loads.")
	}
}

// blocksInline reports whether a policy of the app blocks an inline script with a hash.
func (e *examination) blocksInline(source string) bool {
	for _, p := range e.policies() {
		sources, ok := p.sources("script-src-elem", "script-src")
		has := func(prefix string) bool {
			return slices.ContainsFunc(sources, func(s string) bool { return strings.HasPrefix(s, prefix) })
		}
		switch {
		case !ok || slices.Contains(sources, source):
		case has("'nonce-"): // whether the map has the nonce changes with every answer
		case has("'sha") || has("'strict-dynamic'") || !hasAny(sources, "'unsafe-inline'"):
			return true
		}
	}
	return false
}

// isSDK reports whether a module lies beside kms.js.
func (e *examination) isSDK(at string) bool {
	return e.page.sdkAt != "" && path.Dir(at) == e.page.sdkAt && !strings.Contains(at, "#")
}

// checkDomains compares where app and enclave live.
func (e *examination) checkDomains() {
	app, enclave := e.app.Hostname(), e.enclave.Hostname()
	switch {
	case e.app.Scheme == e.enclave.Scheme && e.app.Host == e.enclave.Host:
		e.say(Bad, "domain", "Give the enclave a registrable domain of its own.", "App and enclave have the same origin: the app can read the enclave's storage and script its frame. There is no enclave.")
	case site(app) == site(enclave):
		e.say(Warning, "domain", "Give the enclave a registrable domain of its own.", "App (%s) and enclave (%s) are on the same site, %s: they may share a process, cookies of the site, and what hostile subdomains can do.", app, enclave, site(app))
	default:
		e.say(Good, "domain", "", "App and enclave are on different sites, %s and %s.", site(app), site(enclave))
	}
}

// checkHost verifies the release and compares the app's pin and SDK with it.
func (e *examination) checkHost(ctx context.Context) {
	report, err := verify.URL(ctx, e.enclave.String(), verify.Options{Timeout: e.Timeout})
	switch {
	case err != nil:
		e.say(Bad, "host", "", "%v", err)
		return
	case report.Verdict == verify.Different:
		e.say(Bad, "host", "Do not rely on this host.", "What the enclave's host serves is not what its manifest says: %v", report.Difference)
	case report.Verdict == verify.Unchecked:
		e.say(Bad, "host", "See whether the address is right and the host is up.", "What the enclave's host serves could not be checked: %s", report.Problem)
	default:
		e.say(Good, "host", "", "The enclave's host serves release %s as its manifest says.", report.Releases[0].Version)
	}
	if len(report.Releases) == 0 {
		return
	}
	e.checkAncestors(report.Releases[0].Embedders)
	e.checkPin(report.Releases[0])
	e.checkSDK(ctx)
}

func (e *examination) checkAncestors(embedders []string) {
	own := e.app.Scheme + "://" + e.app.Host
	for _, source := range embedders {
		rest, wild := strings.CutPrefix(source, e.app.Scheme+"://*.")
		if source == own || wild && strings.HasSuffix(e.app.Host, "."+rest) {
			e.say(Good, "frame-ancestors", "", "The enclave's host lets %s embed it.", own)
			return
		}
	}
	e.say(Bad, "frame-ancestors", "Build or serve the release with --frame-ancestors "+own+".", "The enclave's host does not let %s embed it: its frame-ancestors are %q.", own, strings.Join(embedders, " "))
}

// checkPin compares what the app pins with the release.
func (e *examination) checkPin(found verify.Found) {
	policies := e.page.policies()
	switch {
	case len(policies) == 0 && e.page.mentionsHash():
		e.say(Bad, "pin", "Copy the pin as enclave build prints it, on one line.", "The app holds something like a pin, but no policy in the one form that browsers enforce; Chromium ignores any other without a word.")
		return
	case len(policies) == 0:
		e.say(Bad, "pin", "Pin policy and wasm as enclave build prints them.", "No pin stands in the app's sources: it starts whatever the host serves.")
		return
	}
	if slices.Contains(policies, found.Pin.Policy) {
		e.say(Good, "pin", "", "The app pins the loader that the host serves.")
		if e.page.contains(found.Pin.Wasm) {
			e.say(Good, "pin", "", "The app pins the module that the host serves.")
		} else {
			e.say(Bad, "pin", "Pin wasm, too: "+found.Pin.Wasm, "The app's sources do not hold the hash of the module of this release.")
		}
		return
	}
	loader, _ := release.ParsePolicy(policies[0])
	e.say(Bad, "pin", "Take address, policy and wasm from one release, after checking it.", "The app pins the loader %s, and embeds %s: the launch will be refused.", loader, found.Path)
}

// checkSDK compares the modules that the app serves with those of the release.
func (e *examination) checkSDK(ctx context.Context) {
	if e.page.sdk == nil {
		return
	}
	m, err := fetchManifest(ctx, e.enclave)
	if err != nil {
		return // the host was graded already
	}
	other, same := 0, 0
	for _, f := range m.Release.SDK {
		got, ok := e.page.sdk[f.Name]
		if ok && got == f.SHA384 {
			same++
		}
		if ok && got != f.SHA384 {
			other++
			if other <= 3 {
				e.say(Warning, "sdk", "Copy the SDK of this release, unless you changed it on purpose.", "The app's %s is not the SDK's of this release.", f.Name)
			}
		}
	}
	if other == 0 && same > 0 {
		e.say(Good, "sdk", "", "The %d modules of the SDK that the app loads are this release's.", same)
	}
}
