package main

import (
	"context"
	"encoding/json/v2"
	"errors"

	"github.com/kms-enclave/kms-enclave/release"
)

const defaultEnclaveAddr = "localhost:8444"

func runServe(ctx context.Context, u *ui, args []string) error {
	var d described
	var ancestors texts
	f := u.flags("serve")
	addr := f.String("addr", defaultEnclaveAddr, "")
	origin := f.String("origin", "", "")
	asJSON := f.Bool("json", false, "")
	f.Var(&ancestors, "frame-ancestors", "")
	d.register(f)
	if err := u.parse(f, args); err != nil {
		return err
	}
	if len(ancestors) == 0 {
		return &failure{err: errors.New("serve: got no --frame-ancestors, wanted the origin of an app"), hint: "for instance --frame-ancestors http://127.0.0.1:8080; nobody else may embed the enclave", usage: true}
	}
	deployment := release.Deployment{FrameAncestors: ancestors, Origin: *origin}
	if err := checkDeployment(deployment); err != nil {
		return err
	}
	at, err := listen("--addr", *addr, false)
	if err != nil {
		return err
	}
	defer at.close()
	r, err := buildRelease(ctx, u, d)
	if err != nil {
		return err
	}
	handler, err := r.Handler(deployment)
	if err != nil {
		return err
	}
	public := *origin
	if public == "" {
		public = at.origin()
	}
	u.announce(r, public+r.Page(), *asJSON)
	return serveAll(ctx, site{at, handler})
}

// announcement is the line that --json prints.
type announcement struct {
	URL         string `json:"url"`
	Pin         pin    `json:"pin"`
	Measurement string `json:"measurement"`
}

func (u *ui) announce(r *release.Release, url string, asJSON bool) {
	if !asJSON {
		u.print("serving      %s\nmeasurement  %s\npolicy       %s\nwasm         %s\n", url, r.Measurement, r.Policy, r.Wasm)
		return
	}
	line, err := json.Marshal(announcement{url, pinOf(r), r.Measurement})
	if err != nil {
		panic(err) // ASCII strings have a form in JSON
	}
	u.print("%s\n", line)
}
