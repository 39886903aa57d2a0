package main

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kms-enclave/kms-enclave/release"
)

const defaultEnclaveAddr = "localhost:8444"

func runServe(ctx context.Context, u *ui, args []string) error {
	var d described
	var ancestors texts
	f := u.flags("serve")
	addr := f.String("addr", defaultEnclaveAddr, "")
	origin := f.String("origin", "", "")
	dir := f.String("dir", "", "")
	asJSON := f.Bool("json", false, "")
	f.Var(&ancestors, "frame-ancestors", "")
	d.register(f)
	if err := u.parse(f, args); err != nil {
		return err
	}
	deployment := release.Deployment{FrameAncestors: ancestors, Origin: *origin}
	switch {
	case *dir != "" && (len(ancestors) > 0 || *origin != "" || d != described{}):
		return &failure{err: errors.New("serve: got --dir together with flags of a build"), hint: "what is in a directory was decided by enclave build; give --dir, --addr and --json only", usage: true}
	case *dir == "" && len(ancestors) == 0:
		return &failure{err: errors.New("serve: got no --frame-ancestors, wanted the origin of an app"), hint: "for instance --frame-ancestors http://127.0.0.1:8080; nobody else may embed the enclave", usage: true}
	}
	if err := errors.Join(checkDeployment(deployment), d.check()); err != nil {
		return err
	}
	at, err := listen("--addr", *addr, false)
	if err != nil {
		return err
	}
	defer at.close()
	all, err := toServe(ctx, u, *dir, d, deployment)
	if err != nil {
		return err
	}
	public := all[0].Manifest.Deployment.Origin
	if public == "" {
		public = at.origin()
	}
	if slices.Contains(all[0].Manifest.Deployment.FrameAncestors, public) {
		return &failure{err: fmt.Errorf("--frame-ancestors: %s is where the enclave itself is served", public), hint: "an app on the enclave's origin could read its storage; serve them from two", usage: true}
	}
	if strings.HasPrefix(public, "http://") && at.host != "localhost" {
		u.warn("browsers run an enclave over https only, except on localhost; put a proxy in front and say --origin https://…")
	}
	u.announce(all[0].Release, public+all[0].Release.Page(), *asJSON)
	return serveAll(ctx, site{at, release.Handler(all...)})
}

// toServe loads the releases of a directory, or builds one.
func toServe(ctx context.Context, u *ui, dir string, d described, deployment release.Deployment) ([]*release.Deployed, error) {
	if dir != "" {
		all, err := release.Load(dir)
		if err != nil {
			return nil, withHint(fmt.Errorf("--dir: %w", err), "give a directory that enclave build wrote")
		}
		return all, nil
	}
	r, err := buildRelease(ctx, u, d)
	if err != nil {
		return nil, err
	}
	deployed, err := r.Deploy(deployment)
	return []*release.Deployed{deployed}, err
}

// announcement is the line that --json prints.
type announcement struct {
	URL         string      `json:"url"`
	Pin         release.Pin `json:"pin"`
	Measurement string      `json:"measurement"`
}

func (u *ui) announce(r *release.Release, url string, asJSON bool) {
	if !asJSON {
		u.print("serving      %s\nmeasurement  %s\npolicy       %s\nwasm         %s\n", url, r.Measurement, r.Policy, r.Wasm)
		return
	}
	line, err := json.Marshal(announcement{url, r.Pin(), r.Measurement})
	if err != nil {
		panic(err) // ASCII strings have a form in JSON
	}
	u.print("%s\n", line)
}
