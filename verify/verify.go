// Package verify compares what a host serves, or what a directory holds, with
// the manifest of a release: byte for byte and header for header.
//
// A host can tell an audit from a launch by how it is asked. Every file is
// therefore asked for in several shapes: as the frame in three engines asks for
// it, as the SDK's check does, and plainly. What a host sees beside that (the
// address, the TLS handshake, the order of requests) is this program's own, so
// a host that knows auditors by those is not caught: see [Report.NotProved].
//
// Time and memory are bounded whatever a host does, nothing that it sends
// reaches a terminal unquoted, and nothing of it is executed.
package verify

import (
	"errors"
	"fmt"
	"time"

	"github.com/kms-enclave/kms-enclave/release"
)

// ReportVersion is the version of the form of [Report].
const ReportVersion = 1

// The verdicts.
const (
	Verified  = "verified"  // everything that was compared is equal
	Different = "different" // something is not as the manifest says
	Unchecked = "unchecked" // it could not be found out
)

// Report is what was found. Its JSON form is versioned.
type Report struct {
	Version    int         `json:"version"` // ReportVersion
	Target     string      `json:"target"`
	Verdict    string      `json:"verdict"`
	Releases   []Found     `json:"releases"`            // whose manifests could be read
	Difference *Difference `json:"difference,omitzero"` // the first one, if there is any
	Problem    string      `json:"problem,omitzero"`    // why something could not be checked
	Proved     []string    `json:"proved"`              // one sentence each
	NotProved  []string    `json:"notProved"`           // one sentence each
	Notes      []string    `json:"notes"`               // nothing wrong, but worth a look
	Requests   int         `json:"requests"`            // sent to the host
	Millis     int64       `json:"milliseconds"`
}

// Found is a release that was looked at.
type Found struct {
	Version     string      `json:"version"`
	Commit      string      `json:"commit"`
	Measurement string      `json:"measurement"`
	Path        string      `json:"path"`
	Pin         release.Pin `json:"pin"`
	Embedders   []string    `json:"frameAncestors"`
}

// Difference is one thing that is not as it should be.
type Difference struct {
	File  string `json:"file"`           // path on the host, or in the directory
	Shape string `json:"shape,omitzero"` // how it was asked for
	What  string `json:"what"`           // "bytes", "header Content-Type", "status", …
	Got   string `json:"got"`
	Want  string `json:"want"`
}

func (d *Difference) Error() string {
	asked := ""
	if d.Shape != "" {
		asked = ", asked for " + d.Shape
	}
	return fmt.Sprintf("%s%s: %s: got %s, wanted %s", d.File, asked, d.What, d.Got, d.Want)
}

// Options say how far to go.
type Options struct {
	Rebuild     string        // root of a checkout to rebuild from; empty: do not
	Measurement string        // 96 hex digits that the release must have; empty: any
	Timeout     time.Duration // for everything that is asked of a host; 0 means a minute
	Progress    func(step string)
}

const defaultTimeout = time.Minute

// unchecked is why something could not be found out.
type unchecked struct{ err error }

func (u *unchecked) Error() string { return u.err.Error() }
func (u *unchecked) Unwrap() error { return u.err }

func uncheckedf(format string, args ...any) error { return &unchecked{fmt.Errorf(format, args...)} }

// run is one verification under way.
type run struct {
	Options
	report Report
	began  time.Time
}

func newRun(target string, o Options) *run {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return &run{Options: o, began: time.Now(), report: Report{
		Version: ReportVersion, Target: target, Verdict: Verified,
		Releases: []Found{}, Proved: []string{}, NotProved: []string{}, Notes: []string{},
	}}
}

func (r *run) proved(format string, args ...any) {
	r.report.Proved = append(r.report.Proved, fmt.Sprintf(format, args...))
}

func (r *run) notProved(format string, args ...any) {
	r.report.NotProved = append(r.report.NotProved, fmt.Sprintf(format, args...))
}

func (r *run) note(format string, args ...any) {
	r.report.Notes = append(r.report.Notes, fmt.Sprintf(format, args...))
}

// found remembers a release whose manifest was read.
func (r *run) found(m release.Manifest) {
	r.report.Releases = append(r.report.Releases, Found{
		Version: m.Release.Version, Commit: m.Release.Commit, Measurement: m.Release.Measurement,
		Path: m.Release.Path, Pin: m.Release.Pin(), Embedders: m.Deployment.FrameAncestors,
	})
}

// end turns an error into a verdict.
func (r *run) end(err error) Report {
	var d *Difference
	switch {
	case err == nil:
	case errors.As(err, &d):
		r.report.Verdict, r.report.Difference = Different, d
	default:
		r.report.Verdict, r.report.Problem = Unchecked, err.Error()
	}
	if r.Rebuild == "" {
		r.notProved("That these bytes come from the published source: give --rebuild a checkout of the commit.")
	}
	r.notProved("That this release is public, and the same for everybody: releases are not signed or logged yet.")
	r.report.Millis = time.Since(r.began).Milliseconds()
	return r.report
}

// checkMeasurement compares a manifest with what the caller knows.
func (r *run) checkMeasurement(file string, m release.Manifest) error {
	if r.Measurement == "" {
		return nil
	}
	if r.Measurement == m.Release.Measurement {
		r.proved("The release has the measurement that you gave.")
		return nil
	}
	return &Difference{File: file, What: "measurement", Got: m.Release.Measurement, Want: r.Measurement}
}

// checkMeasurements is checkMeasurement for a directory: one of its releases
// must have it.
func (r *run) checkMeasurements() error {
	if r.Measurement == "" {
		return nil
	}
	for _, f := range r.report.Releases {
		if f.Measurement == r.Measurement {
			r.proved("The release with the measurement that you gave is %s.", f.Path)
			return nil
		}
	}
	return &Difference{File: "r", What: "measurement", Got: "releases with others", Want: r.Measurement}
}

// parse parses a manifest; a bad one is a difference like any other. Build tags
// are for tests: they compile in what no release may have, and a rebuild with
// the same ones would prove nothing.
func parse(file, shape string, text []byte) (release.Manifest, error) {
	m, err := release.ParseManifest(text)
	if errors.Is(err, release.ErrManifestNewer) {
		return m, uncheckedf("%s: %w; use a newer version of this command", file, err)
	}
	if err != nil {
		return m, &Difference{File: file, Shape: shape, What: "manifest", Got: err.Error(), Want: "a canonical manifest of one release"}
	}
	if len(m.Release.Build.Tags) > 0 {
		return m, &Difference{File: file, Shape: shape, What: "build.tags", Got: fmt.Sprintf("%q", m.Release.Build.Tags), Want: "none: this is a test build"}
	}
	return m, nil
}

// checkLoader compares what the loader says of itself with the manifest: the
// hash of the module stands in it, so the measurement covers the module too.
func checkLoader(file string, m release.Manifest, loader, page []byte) error {
	if err := m.Release.CheckLoader(loader); err != nil {
		return &Difference{File: file, What: "loader", Got: err.Error(), Want: "the module, version and commit of the manifest"}
	}
	if err := m.Release.CheckPage(page); err != nil {
		return &Difference{File: m.Release.Page(), What: "page", Got: err.Error(), Want: "one script, the measured loader"}
	}
	return nil
}
